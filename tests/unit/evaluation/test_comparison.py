"""Comparisons: equal n, whole patients, intervals at their level, and the closed form of known distributions."""

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student
from statsmodels.stats.proportion import proportion_confint

from synfundus.evaluation.comparison import compare, measure_pair
from synfundus.evaluation.extrapolation import extrapolate
from synfundus.evaluation.feature_sets import NUM_GROUPS, FeatureSet, jackknife, jackknife_share
from synfundus.evaluation.fidelity import fit_gaussian, frechet_distance, kernel_distance
from synfundus.evaluation.landmark import compare_with_phantoms
from synfundus.evaluation.strata import STRATA
from synfundus.labels import LABEL_NAMES
from synfundus.measures.metrics import MEASURE_NAMES

SETTINGS: Any = {"min_images": 50, "num_neighbours": 5, "seed": 0}


def feature_set(rng: np.random.Generator, n: int, shift: float = 0.0, dim: int = 4, per_patient: int = 1) -> FeatureSet:
    features = rng.normal(shift, 1.0, (n, dim)).astype(np.float32)
    return FeatureSet(features, [f"{shift}-{i // per_patient}" for i in range(n)])


def test_jackknife_of_a_mean_is_the_standard_error_of_group_means() -> None:
    """For a mean over equal groups, the variance is that of the group means over their number."""
    values = np.random.default_rng(0).normal(5.0, 2.0, (NUM_GROUPS, 30))
    without = [float(np.delete(values, g, axis=0).mean()) for g in range(NUM_GROUPS)]
    _, low, high = jackknife(float(values.mean()), without, values.size).interval
    standard_error = values.mean(axis=1).std(ddof=1) / NUM_GROUPS**0.5
    assert high - low == pytest.approx(2 * 2.2621571628 * standard_error, rel=1e-9)  # t with 9 degrees of freedom


def test_jackknife_of_a_share_is_wilson_s_interval_at_its_effective_n() -> None:
    values = (np.random.default_rng(0).random((NUM_GROUPS, 30)) < 0.8).astype(float)
    without = [float(np.delete(values, g, axis=0).mean()) for g in range(NUM_GROUPS)]
    share = float(values.mean())
    effective = share * (1 - share) / (values.mean(axis=1).var(ddof=1) / NUM_GROUPS)
    effective *= (norm.ppf(0.975) / student.ppf(0.975, NUM_GROUPS - 1)) ** 2
    low, high = proportion_confint(share * effective, effective, method="wilson")
    assert jackknife_share(share, without, 300, 300).interval == pytest.approx((share, low, high), rel=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_share_that_no_group_changes_counts_each_patient_once(share: float) -> None:
    low, high = proportion_confint(share * 50, 50, method="wilson")
    found = jackknife_share(share, [share] * NUM_GROUPS, 80, 50)
    assert found.interval == pytest.approx((share, low, high), abs=1e-9)
    assert found.n == 80


def test_two_sets_that_cover_everything_still_have_a_difference_with_a_width() -> None:
    rng = np.random.default_rng(12)
    reference = FeatureSet(np.repeat(np.eye(4, dtype=np.float32), 20, axis=0), [str(i) for i in range(80)])
    near = [FeatureSet(reference.features_ND, [f"{rng.random()}" for _ in range(80)]) for _ in range(2)]
    found = compare(reference, *near, **SETTINGS).difference.coverage
    assert found.value == 0.0
    assert found.interval[1] < -0.01
    assert found.interval[2] > 0.01


def test_intervals_of_the_difference_hold_their_level() -> None:
    """Held-out and synthetic sets of one distribution differ by 0, and about 95 % of the intervals contain 0."""
    held = dict.fromkeys(MEASURE_NAMES, 0)
    rounds = 60
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        sets = [feature_set(rng, 80) for _ in range(3)]
        for name, measure in compare(*sets, **{**SETTINGS, "seed": seed}).difference.items():
            _, low, high = measure.interval
            held[name] += low <= 0.0 <= high
    for name in ("frechet_distance", "kid", "density"):
        assert held[name] >= 0.85 * rounds, (name, held[name])


def test_distance_of_a_shifted_set_is_the_closed_form() -> None:
    """N(0, I) and N(1, I) in 4 dimensions have a squared Fréchet distance of 4."""
    rng = np.random.default_rng(1)
    found = compare(feature_set(rng, 1000), feature_set(rng, 1000), feature_set(rng, 1000, shift=1.0), **SETTINGS)
    _, low, high = found.synthetic.frechet_distance.interval
    assert low < 4.0 < high
    assert found.difference.frechet_distance.interval[1] > 0
    assert found.difference.coverage.interval[2] < 0


def test_all_three_sets_are_cut_to_the_smallest() -> None:
    rng = np.random.default_rng(2)
    found = compare(feature_set(rng, 90), feature_set(rng, 70), feature_set(rng, 300), **SETTINGS)
    assert found.n == 70
    assert all(measure.n == 70 for column in (found.held_out, found.synthetic) for _, measure in column.items())


def test_too_few_images_are_not_measurable_and_the_reason_has_the_counts() -> None:
    rng = np.random.default_rng(3)
    found = compare(feature_set(rng, 90), feature_set(rng, 49), feature_set(rng, 300), **SETTINGS)
    for column in (found.held_out, found.synthetic, found.difference):
        for _, measure in column.items():
            assert not measure.measurable
            assert measure.reason == "90 training, 49 held-out, 300 synthetic images; needs 50 of each"


@pytest.mark.parametrize("small", [0, 1])
def test_a_set_of_too_few_patients_has_no_interval_and_is_not_measurable(small: int) -> None:
    """Empty jackknife groups would count as groups, and the interval would be far too narrow."""
    rng = np.random.default_rng(9)
    sets = [feature_set(rng, 90), feature_set(rng, 90), feature_set(rng, 90)]
    sets[small] = feature_set(rng, 90, per_patient=30)
    for _, measure in compare(*sets, **SETTINGS).synthetic.items():
        assert measure.reason == "3 patients; needs 10 of each set"
    few = compare_with_phantoms(feature_set(rng, 90, per_patient=30), sets[2], sets[2], min_images=50, seed=0)
    assert few.synthetic.reason == "3 patients; needs 10 of each set"


def test_max_images_gives_several_comparisons_the_same_n() -> None:
    rng = np.random.default_rng(10)
    sets = feature_set(rng, 90), feature_set(rng, 80), feature_set(rng, 300)
    assert compare(*sets, **SETTINGS, max_images=60).n == 60


def test_images_of_one_patient_stay_in_one_group() -> None:
    groups = feature_set(np.random.default_rng(4), 120, per_patient=3).jackknife_groups(seed=5)
    assert all(len(set(groups[start : start + 3])) == 1 for start in range(0, 120, 3))
    assert np.bincount(groups).tolist() == [12] * NUM_GROUPS


def test_the_same_seed_gives_the_same_numbers() -> None:
    rng = np.random.default_rng(6)
    sets = feature_set(rng, 90), feature_set(rng, 70), feature_set(rng, 100)
    assert compare(*sets, **SETTINGS) == compare(*sets, **SETTINGS)


def test_a_copy_of_the_reference_is_at_distance_zero_and_covers_it() -> None:
    images = feature_set(np.random.default_rng(7), 100)
    found = measure_pair(images, images, 5)
    assert found["frechet_distance"] == pytest.approx(0.0, abs=1e-6)
    assert found["precision"] == found["recall"] == found["coverage"] == 1.0


SPECTRUM = 264.0 * np.exp(-np.arange(120) / 10) / np.exp(-np.arange(120) / 10).sum()
"""Eigenvalues of features with the total variance of the annotator's, and an effective dimension of 28."""


def photographs(rng: np.random.Generator, n: int, spread: float = 1.0) -> FeatureSet:
    """Return features of one distribution, whose standard deviations are multiplied by `spread`."""
    features = spread * rng.normal(size=(n, len(SPECTRUM))) * np.sqrt(SPECTRUM)
    return FeatureSet(features.astype(np.float32), [f"{spread}-{i}" for i in range(n)])


def test_lost_variety_is_not_rewarded_at_small_n() -> None:
    """At n = 50 a set with 0.64 of the variance has a smaller Fréchet distance than photographs: it is refused."""
    rewarded, kid = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        reference, held_out, lost = photographs(rng, 400), photographs(rng, 50), photographs(rng, 50, spread=0.8)
        gaussian = fit_gaussian(reference.features_ND[:50])
        distances = [frechet_distance(gaussian, fit_gaussian(images.features_ND)) for images in (held_out, lost)]
        rewarded.append(distances[1] < distances[0])
        kid.append(kernel_distance(reference, lost) - kernel_distance(reference, held_out))
    assert np.mean(rewarded) > 0.5
    assert np.mean(kid) > 0.0
    found = compare(reference, held_out, lost, **SETTINGS)
    for column in (found.held_out, found.synthetic, found.difference):
        assert column.frechet_distance.reason is not None
        assert re.fullmatch(
            r"50 images; needs 2\d\d, 10 times the effective dimension 2\d\.\d", column.frechet_distance.reason
        )
        assert all(measure.measurable for name, measure in column.items() if name != "frechet_distance")


@pytest.mark.parametrize("spread", [0.8, 0.9])
def test_lost_variety_scores_worse_at_the_smallest_n_of_a_frechet_distance(spread: float) -> None:
    worse = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        found = compare(photographs(rng, 400), photographs(rng, 300), photographs(rng, 300, spread), **SETTINGS)
        worse += found.difference.frechet_distance.interval[0] > 0.0
    assert worse >= 7


def test_the_extrapolated_distance_has_no_bias_and_its_interval_holds_the_closed_form() -> None:
    """N(0, I) and N(0.5, I) in 8 dimensions have a squared distance of 2, and two sets of N(0, I) one of 0."""
    covered, biased = np.zeros(3), 0
    rounds = 40
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        sets = feature_set(rng, 240, dim=8), feature_set(rng, 240, dim=8), feature_set(rng, 240, shift=0.5, dim=8)
        compared = compare(*sets, **SETTINGS)
        limit = extrapolate(sets, compared, seed)
        assert [point.n for point in limit.points] == [240, 160, 120]
        for place, (measure, truth) in enumerate(((limit.held_out, 0), (limit.synthetic, 2), (limit.difference, 2))):
            _, low, high = measure.interval
            covered[place] += low <= truth <= high
        biased += compared.held_out.frechet_distance.interval[1] > 0.0
        assert limit.points[0].held_out == pytest.approx(compared.held_out.frechet_distance.value, rel=1e-9)
    assert (covered >= 0.85 * rounds).all(), covered
    assert biased >= 0.85 * rounds  # intervals of the distance at n itself miss 0


def test_without_a_frechet_distance_nothing_is_extrapolated() -> None:
    rng = np.random.default_rng(11)
    sets = photographs(rng, 60), photographs(rng, 60), photographs(rng, 60)
    limit = extrapolate(sets, compare(*sets, **SETTINGS), seed=0)
    assert limit.points == ()
    assert limit.difference.reason == limit.synthetic.reason == limit.held_out.reason
    assert (limit.synthetic.reason or "").startswith("60 images; needs ")


def test_landmark_orders_samples_and_phantoms_by_their_kernel_distance_from_held_out_photographs() -> None:
    """A small shift m in D dimensions has a kernel distance of about 3 |m|^2 / D: 0.75 for 0.5, much more for 2."""
    rng = np.random.default_rng(8)
    near, far = feature_set(rng, 200, shift=0.5), feature_set(rng, 150, shift=2.0)
    found = compare_with_phantoms(feature_set(rng, 300), near, far, min_images=50, seed=0)
    assert found.n == 150
    assert found.synthetic.interval[2] < found.phantoms.interval[1]
    assert found.synthetic.interval[1] > 0.0


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
def test_an_image_belongs_to_the_strata_of_its_known_findings(values: dict[str, int], strata: set[str]) -> None:
    assert {key for key, stratum in STRATA.items() if stratum.members(_labels(**values))[0]} == strata
