"""The mean AUC over labels has the spread that a bootstrap of patients has, and is the AUC if there is one label."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from synfundus.measures.difference import Difference
from synfundus.measures.inputs import Floats
from synfundus.measures.mean_auc import NO_LABEL, LabelledImages, mean_auc, mean_auc_difference
from synfundus.measures.paired import paired_difference, seed_mean

NUM_PATIENTS, NUM_LABELS = 90, 4


def simulated(num_seeds: int = 3, seed: int = 0, num_labels: int = NUM_LABELS) -> tuple[LabelledImages, list[Floats]]:
    """Return labels that depend on each other, and the scores (S, N, K) of two arms.

    A patient has two images that are alike, and an illness that each label shows. Some values of each label are
    unknown, and the last label is rare.
    """
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(NUM_PATIENTS), 2)
    shape = (len(patients), num_labels)
    illness_N1 = rng.normal(size=(NUM_PATIENTS, 1))[patients]
    severity_NK = (
        0.7 * illness_N1 + 0.5 * rng.normal(size=(NUM_PATIENTS, num_labels))[patients] + rng.normal(size=shape)
    )
    y_NK = severity_NK > np.linspace(0.6, 1.8, num_labels)
    difficulty_NK = 0.8 * rng.normal(size=(NUM_PATIENTS, 1))[patients] + 0.5 * rng.normal(size=shape)
    arms = [
        np.round(quality * y_NK + difficulty_NK + 0.7 * rng.normal(size=(num_seeds, *shape)), 1)
        for quality in (1.5, 1.0)
    ]
    return LabelledImages(y_NK, rng.random(shape) < 0.85, patients), arms


def bootstrapped(images: LabelledImages, scores_TNK: Floats, num_draws: int) -> Floats:
    """Return the mean AUC (draws, T) of samples of whole patients that have both classes of each label."""
    rng = np.random.default_rng(99)
    drawn = rng.integers(0, NUM_PATIENTS, (num_draws, NUM_PATIENTS)) + np.arange(num_draws)[:, None] * NUM_PATIENTS
    weight_RG = np.bincount(drawn.ravel(), minlength=num_draws * NUM_PATIENTS).reshape(num_draws, NUM_PATIENTS)
    out = np.zeros((num_draws, len(scores_TNK)))
    for k in range(images.y_NK.shape[1]):
        y, scores, patients = images.label(k, scores_TNK)
        positive_RP, negative_RQ = (weight_RG[:, patients[rows]].astype(float) for rows in (y, ~y))
        pairs_R = positive_RP.sum(axis=1) * negative_RQ.sum(axis=1)
        for t, row in enumerate(scores):
            high, low = row[y][:, None], row[~y]
            won_PQ = (high > low) + 0.5 * (high == low)
            with np.errstate(invalid="ignore"):
                out[:, t] += ((positive_RP @ won_PQ) * negative_RQ).sum(axis=1) / pairs_R
    finite = np.isfinite(out).all(axis=1)
    return np.asarray(out[finite] / images.y_NK.shape[1], float)


def numbers(difference: Difference) -> list[float | None]:
    """Return every number of a difference."""
    freedom = [difference.patient_freedom, difference.seed_freedom or 0.0, difference.seed_share]
    error = difference.standard_error
    return [*difference.measure.interval, difference.p_value, error, *freedom, difference.num_patients]


def test_the_value_is_the_mean_of_scikit_learns_over_labels_and_seeds() -> None:
    images, (first, second) = simulated()

    def expected(scores: Floats) -> float:
        of_labels = [images.label(k, scores) for k in range(NUM_LABELS)]
        return float(np.mean([roc_auc_score(y, row) for y, rows, _ in of_labels for row in rows]))

    assert mean_auc(images, first).value == pytest.approx(expected(first), rel=1e-12)
    difference = mean_auc_difference(images, first, second)
    assert difference.measure.value == pytest.approx(expected(first) - expected(second), rel=1e-12)
    assert difference.measure.n == images.known_NK.any(axis=1).sum()


@pytest.mark.parametrize("seed", range(3))
def test_the_standard_error_is_that_of_a_bootstrap_of_patients(seed: int) -> None:
    images, (first, second) = simulated(1, seed)
    drawn = bootstrapped(images, np.concatenate([first, second]), 4000)
    found = mean_auc_difference(images, first, second).standard_error
    assert found == pytest.approx(np.std(drawn[:, 0] - drawn[:, 1]), rel=0.06)
    _, low, high = mean_auc(images, first).interval
    assert [low, high] == pytest.approx(np.percentile(drawn[:, 0], (2.5, 97.5)), abs=0.012)


def test_labels_of_the_same_patients_do_not_count_as_independent() -> None:
    """If each label is there twice, nothing is known better, and the mean is known less well than that of others."""
    images, (first, second) = simulated(1)
    twice = LabelledImages(np.tile(images.y_NK, 2), np.tile(images.known_NK, 2), images.groups)
    once = mean_auc_difference(images, first, second)
    again = mean_auc_difference(twice, np.tile(first, 2), np.tile(second, 2))
    assert again.standard_error == pytest.approx(once.standard_error, rel=0.02)
    widths = [np.ptp(seed_mean("auc", *images.label(k, first)).interval[1:]) for k in range(NUM_LABELS)]
    assert np.ptp(mean_auc(images, first).interval[1:]) > 1.1 * np.sqrt(np.sum(np.square(widths))) / NUM_LABELS


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_of_one_label_it_is_the_auc(num_seeds: int) -> None:
    images, (first, second) = simulated(num_seeds, num_labels=1)
    y, scores, patients = images.label(0, np.concatenate([first, second]))
    single = seed_mean("auc", y, scores[:num_seeds], patients)
    assert mean_auc(images, first).interval == pytest.approx(single.interval, rel=1e-12)
    expected = paired_difference("auc", y, scores[:num_seeds], scores[num_seeds:], patients)
    assert numbers(mean_auc_difference(images, first, second)) == pytest.approx(numbers(expected), rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_interval_excludes_0_exactly_if_p_is_below_5_percent(seed: int) -> None:
    images, (first, second) = simulated(3, seed)
    difference = mean_auc_difference(images, first, second)
    _, low, high = difference.measure.interval
    assert difference.p_value is not None
    assert (low > 0 or high < 0) == (difference.p_value < 0.05)
    back = mean_auc_difference(images, second, first)
    assert back.measure.interval[1:] == pytest.approx((-high, -low), rel=1e-9)
    assert back.p_value == pytest.approx(difference.p_value, rel=1e-6)


def test_labels_with_few_patients_lower_the_degrees_of_freedom() -> None:
    images, (first, second) = simulated(1)
    rare = images.y_NK.copy()
    rows = np.flatnonzero(rare[:, -1] & images.known_NK[:, -1])
    rare[rows[np.unique(np.asarray(images.groups)[rows], return_index=True)[1]][3:], -1] = False
    common, few = (
        mean_auc_difference(LabelledImages(y, images.known_NK, images.groups), first, second).num_patients
        for y in (images.y_NK, rare)
    )
    single = [_smaller_class(images, k) for k in range(NUM_LABELS)]
    assert min(single) <= common <= max(single)
    assert few < common


def _smaller_class(images: LabelledImages, k: int) -> int:
    """Return the patients of the smaller class of a label."""
    y, _, patients = images.label(k, np.zeros((1, *images.y_NK.shape)))
    return min(len(np.unique(patients[rows])) for rows in (y, ~y))


def test_perfect_arms_still_have_a_width() -> None:
    images, (first, second) = simulated(3)
    perfect = 10.0 * images.y_NK + first
    value, low, high = mean_auc(images, perfect).interval
    assert (value, high) == (1.0, 1.0)
    assert 0.8 < low < 0.99
    other = mean_auc_difference(images, perfect, 10.0 * images.y_NK + second)
    assert other.measure.value == 0.0
    assert other.measure.interval[1] < -0.01
    assert other.p_value == 1.0
    same = mean_auc_difference(images, first, first)
    value, low, high = same.measure.interval
    assert value == 0.0
    assert low < -0.01 < 0.01 < high
    assert same.p_value == 1.0


def test_what_the_labels_cannot_give_is_not_measurable() -> None:
    images, (first, second) = simulated(1)
    none = LabelledImages(images.y_NK[:, :0], images.known_NK[:, :0], images.groups)
    assert mean_auc(none, first[..., :0]).reason == NO_LABEL
    assert mean_auc_difference(none, first[..., :0], second[..., :0]).measure.reason == NO_LABEL
    one_class: NDArray[np.bool_] = np.ones_like(images.y_NK)
    found = mean_auc_difference(LabelledImages(one_class, images.known_NK, images.groups), first, second)
    assert str(found.measure.reason).startswith("label 0: needs both classes")


def test_arms_of_other_seeds_are_refused() -> None:
    images, (first, second) = simulated(2)
    with pytest.raises(ValueError, match="needs the same"):
        mean_auc_difference(images, first, second[:1])
