"""Equal n, whole patients, intervals that hold, and distances that are those of known distributions."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synfundus.evaluation.comparison import (
    MEASURES,
    NUM_GROUPS,
    Part,
    compare,
    distance_from_held_out,
    jackknife,
    measure_pair,
)
from synfundus.evaluation.strata import STRATA
from synfundus.labels import LABEL_NAMES

SETTINGS: Any = {"min_images": 50, "num_neighbours": 5, "seed": 0}


def part(rng: np.random.Generator, n: int, shift: float = 0.0, dim: int = 4, per_patient: int = 1) -> Part:
    features = rng.normal(shift, 1.0, (n, dim)).astype(np.float32)
    return Part(features, [f"{shift}-{i // per_patient}" for i in range(n)])


def test_jackknife_of_a_mean_is_the_standard_error_of_group_means() -> None:
    """For a mean over equal groups the delete-a-group variance is that of the group means over their number."""
    values = np.random.default_rng(0).normal(5.0, 2.0, (NUM_GROUPS, 30))
    without = [float(np.delete(values, g, axis=0).mean()) for g in range(NUM_GROUPS)]
    measure = jackknife(float(values.mean()), without, values.size)
    standard_error = values.mean(axis=1).std(ddof=1) / NUM_GROUPS**0.5
    assert measure.low is not None
    assert measure.high is not None
    assert measure.high - measure.low == pytest.approx(2 * 2.2621571628 * standard_error, rel=1e-9)  # t, 9 degrees


def test_intervals_of_the_difference_hold_their_level() -> None:
    """Held-out and synthetic of one distribution: the difference is 0, and about 95 % of the intervals say so."""
    held = dict.fromkeys(MEASURES, 0)
    rounds = 60
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        found = compare(part(rng, 80), part(rng, 80), part(rng, 80), **{**SETTINGS, "seed": seed})
        for name in MEASURES:
            measure = found["difference"][name]
            held[name] += measure["low"] <= 0.0 <= measure["high"]
    for name in ("frechet_distance", "kid", "density"):
        assert held[name] >= 0.85 * rounds, (name, held[name])


def test_a_shifted_set_is_seen_and_its_distance_is_the_closed_form() -> None:
    """N(0, I) against N(1, I) in 4 dimensions: squared Fréchet distance 4."""
    rng = np.random.default_rng(1)
    found = compare(part(rng, 2000), part(rng, 2000), part(rng, 2000, shift=1.0), **SETTINGS)
    distance = found["synthetic"]["frechet_distance"]
    assert distance["low"] < 4.0 < distance["high"]
    assert found["difference"]["frechet_distance"]["low"] > 0
    assert found["difference"]["coverage"]["high"] < 0


def test_all_three_sets_are_cut_to_the_smallest() -> None:
    rng = np.random.default_rng(2)
    found = compare(part(rng, 90), part(rng, 70), part(rng, 300), **SETTINGS)
    assert found["n"] == 70
    assert all(measure["n"] == 70 for column in ("held_out", "synthetic") for measure in found[column].values())


def test_too_few_images_are_not_measurable_and_the_reason_has_the_counts() -> None:
    rng = np.random.default_rng(3)
    found = compare(part(rng, 90), part(rng, 49), part(rng, 300), **SETTINGS)
    for column in ("held_out", "synthetic", "difference"):
        for measure in found[column].values():
            assert measure["status"] == "not measurable"
            assert "value" not in measure
            assert measure["reason"] == "90 training, 49 held-out, 300 synthetic images; needs 50 of each"


@pytest.mark.parametrize("small", [0, 1])
def test_a_set_of_too_few_patients_has_no_interval_and_is_not_measurable(small: int) -> None:
    """Empty jackknife groups would count as groups, and the interval would be far too narrow."""
    rng = np.random.default_rng(9)
    sets = [part(rng, 90), part(rng, 90), part(rng, 90)]
    sets[small] = part(rng, 90, per_patient=30)
    for measure in compare(*sets, **SETTINGS)["synthetic"].values():
        assert measure["reason"] == "3 patients; needs 10 of each set"
    few = distance_from_held_out(part(rng, 90, per_patient=30), {"synthetic": sets[2]}, min_images=50, seed=0)
    assert few["synthetic"]["reason"] == "3 patients; needs 10 of each set"


def test_two_comparisons_can_be_made_at_one_n() -> None:
    rng = np.random.default_rng(10)
    assert compare(part(rng, 90), part(rng, 80), part(rng, 300), **SETTINGS, max_images=60)["n"] == 60


def test_images_of_one_patient_stay_in_one_group() -> None:
    dealt = part(np.random.default_rng(4), 120, per_patient=3).dealt(seed=5)
    assert all(len(set(dealt[start : start + 3])) == 1 for start in range(0, 120, 3))
    assert np.bincount(dealt).tolist() == [12] * NUM_GROUPS


def test_the_same_seed_gives_the_same_numbers() -> None:
    rng = np.random.default_rng(6)
    parts = part(rng, 90), part(rng, 70), part(rng, 100)
    assert compare(*parts, **SETTINGS) == compare(*parts, **SETTINGS)


def test_a_copy_of_the_reference_is_at_distance_zero_and_covers_it() -> None:
    features = part(np.random.default_rng(7), 100).features_ND
    found = measure_pair(features, features, 5)
    assert found["frechet_distance"] == pytest.approx(0.0, abs=1e-6)
    assert found["precision"] == found["recall"] == found["coverage"] == 1.0


def test_landmark_orders_sets_by_their_distance_from_held_out() -> None:
    rng = np.random.default_rng(8)
    near, far = part(rng, 200, shift=0.5), part(rng, 150, shift=2.0)
    found = distance_from_held_out(part(rng, 300), {"synthetic": near, "phantoms": far}, min_images=50, seed=0)
    assert found["n"] == 150
    assert found["synthetic"]["high"] < found["phantoms"]["low"]
    assert found["phantoms"]["low"] < 16.0 < found["phantoms"]["high"]


def _labels(**values: int) -> NDArray[np.int8]:
    return np.array([[values.get(name, -1) for name in LABEL_NAMES]], np.int8)


@pytest.mark.parametrize(
    ("values", "strata"),
    [
        ({}, {"overall"}),
        ({"dr_grade": 0, "is_gc": 0}, {"overall", "dr_grade=0"}),
        ({"dr_grade": 3}, {"overall", "dr_grade", "dr_grade=3"}),
        ({"is_gc": 1}, {"overall", "is_gc", "subtle"}),
        ({"is_rvo": 1, "is_em": 1}, {"overall", "is_rvo", "widespread", "is_em", "subtle"}),
        ({"is_amd": 1}, {"overall", "is_amd"}),
    ],
)
def test_strata_hold_what_is_known_to_have_the_finding(values: dict[str, int], strata: set[str]) -> None:
    assert {key for key, stratum in STRATA.items() if stratum.members(_labels(**values))[0]} == strata
