"""Sensitivity at a matched specificity: equal n, the two groups of changes, and intervals."""

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import roc_curve

from synfundus.diagnosis.held_out import Predictions
from synfundus.evaluation.sensitivity import (
    MIN_NEGATIVES,
    MIN_POSITIVES,
    SPECIFICITY,
    compare_sensitivities,
    independent_mean,
)
from synfundus.evaluation.strata import GROUPS
from synfundus.labels import DISEASES, HEADS, LABEL_NAMES, NUM_LABELS, NUM_VALUES
from synfundus.measures.judge_metrics import Sensitivity
from synfundus.measures.measure import Measure

GC, RVO = LABEL_NAMES.index("is_gc"), LABEL_NAMES.index("is_rvo")


def graded(
    rng: np.random.Generator, num: int, shift: Mapping[int, float], prevalence: float = 0.3
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return labels (num, 16) and scores; the score of label k is shifted by `shift[k]` if it is 1, else unlabelled."""
    labels = np.full((num, NUM_LABELS), -1, np.int8)
    scores = np.full((num, NUM_LABELS), np.nan, np.float32)
    for k, by in shift.items():
        labels[:, k] = rng.random(num) < prevalence
        scores[:, k] = rng.normal(size=num) + by * labels[:, k]
    return labels, scores


def held_out(labels: NDArray[np.int8], scores: NDArray[np.float32]) -> dict[str, Predictions]:
    """Return the same as predictions of two splits, with two images a patient, numbered anew in each split."""
    logits, p = np.full((len(labels), NUM_VALUES), np.nan, np.float32), np.zeros((len(labels), NUM_VALUES), np.float32)
    for k, name in enumerate(LABEL_NAMES):
        logits[:, HEADS[name].start], p[:, HEADS[name].start] = scores[:, k], labels[:, k] == 1
    half, found = len(labels) // 2, {}
    for split, rows in (("validation", slice(0, half)), ("test", slice(half, None))):
        known = labels[rows] >= 0
        numbers = [str(i // 2) for i in range(len(known))]
        found[split] = Predictions(logits[rows], p[rows], known, numbers)
    return found


def compared(seed: int, photographs: Mapping[int, float], samples: Mapping[int, float], num: int = 600) -> Sensitivity:
    rng = np.random.default_rng(seed)
    return compare_sensitivities(held_out(*graded(rng, num, photographs)), *graded(rng, 800, samples), {}, 0)


def test_equal_scores_have_no_difference_and_a_faint_subtle_finding_a_negative_one() -> None:
    result = compared(0, {GC: 2.0, RVO: 2.0}, {GC: 0.8, RVO: 2.0})
    faint, clear = result.diseases["is_gc"], result.diseases["is_rvo"]
    expected = norm.sf(norm.ppf(SPECIFICITY) - 2.0)
    for disease in (faint, clear):
        assert disease.photographs.interval[1] < expected < disease.photographs.interval[2]
    assert faint.difference.interval[2] < 0
    assert clear.difference.interval[1] < 0 < clear.difference.interval[2]
    assert (result.groups["subtle"].diseases, result.groups["widespread"].diseases) == (("is_gc",), ("is_rvo",))
    assert result.contrast.value == pytest.approx(faint.difference.interval[0] - clear.difference.interval[0])
    assert result.contrast.interval[2] < 0
    assert Sensitivity.model_validate_json(result.model_dump_json()) == result


def test_images_compared_with_themselves_have_scikit_learns_sensitivity_and_no_difference() -> None:
    labels, scores = graded(np.random.default_rng(6), 500, {GC: 1.5})
    disease = compare_sensitivities(held_out(labels, scores), labels, scores, {}, 0).diseases["is_gc"]
    rate, sensitivity, _ = roc_curve(labels[:, GC], scores[:, GC], drop_intermediate=False)
    assert disease.photographs.value == pytest.approx(sensitivity[rate <= 1 - SPECIFICITY + 1e-9].max())
    assert disease.difference.value == 0.0


def test_both_sets_have_the_same_number_of_positives_and_negatives() -> None:
    result = compared(1, {GC: 2.0}, {GC: 2.0})
    rng = np.random.default_rng(1)
    photographs, samples = graded(rng, 600, {GC: 2.0})[0][:, GC], graded(rng, 800, {GC: 2.0})[0][:, GC]
    disease = result.diseases["is_gc"]
    assert disease.num_positive == min((photographs == 1).sum(), (samples == 1).sum())
    assert disease.num_negative == min((photographs == 0).sum(), (samples == 0).sum())
    assert disease.photographs.n == disease.samples.n == disease.num_positive


def test_a_group_is_the_mean_of_its_measurable_diseases() -> None:
    shift = {LABEL_NAMES.index(name): 1.0 + 0.5 * i for i, name in enumerate(GROUPS["subtle"].diseases)}
    result = compared(2, shift, shift, 2000)
    group = result.groups["subtle"]
    assert set(group.diseases) == set(GROUPS["subtle"].diseases)
    assert group.photographs == independent_mean([result.diseases[name].photographs for name in group.diseases])
    widths = [np.ptp(result.diseases[name].photographs.interval[1:]) for name in group.diseases]
    assert np.ptp(group.photographs.interval[1:]) < min(widths), "four diseases are surer than one"
    assert result.groups["widespread"].difference.reason == "no disease of this group could be compared"
    assert not result.contrast.measurable


def test_few_images_and_unusable_labels_have_a_reason() -> None:
    rng = np.random.default_rng(3)
    labels, scores = graded(rng, 200, {GC: 1.0, RVO: 1.0})
    labels[:, GC] = np.arange(200) < MIN_POSITIVES - 1
    photographs = held_out(labels, scores)
    result = compare_sensitivities(photographs, *graded(rng, 300, {GC: 1.0, RVO: 1.0}), {"is_rvo": "chance"}, 0)
    reason = str(result.diseases["is_gc"].difference.reason)
    assert reason.startswith("with and without the finding 9 and 191 photographs, ")
    assert reason.endswith(f"needs {MIN_POSITIVES} and {MIN_NEGATIVES} each")
    assert result.diseases["is_rvo"].samples.reason == "the grader cannot predict this label: chance"
    assert set(result.diseases) == set(DISEASES)
    empty = compare_sensitivities({}, np.zeros((0, NUM_LABELS), np.int8), np.zeros((0, NUM_LABELS), np.float32), {}, 0)
    assert not any(disease.samples.measurable for disease in empty.diseases.values())


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert compared(4, {GC: 1.0}, {GC: 1.0}) == compared(4, {GC: 1.0}, {GC: 1.0})


def test_all_positives_above_the_threshold_still_have_an_interval() -> None:
    disease = compared(5, {GC: 9.0}, {GC: 9.0}).diseases["is_gc"]
    value, low, high = disease.photographs.interval
    assert (value, high) == (1.0, 1.0)
    assert 0.9 < low < 1.0
    assert disease.difference.interval[0] == 0.0
    assert disease.difference.interval[1] < 0.0 < disease.difference.interval[2]


def test_the_mean_of_independent_estimates_has_the_root_sum_of_squares_of_their_distances() -> None:
    parts = [Measure.measured(0.6, 0.5, 0.8, 40), Measure.measured(0.8, 0.6, 0.9, 60)]
    expected = (0.7, 0.7 - np.hypot(0.1, 0.2) / 2, 0.7 + np.hypot(0.2, 0.1) / 2)
    assert independent_mean(parts).interval == pytest.approx(expected)
    assert independent_mean(parts).n == 100
    assert not independent_mean([]).measurable


def test_intervals_cover_the_true_sensitivity_difference_and_mean() -> None:
    """The images of a patient, and the diseases of an image, share a part of their scores. Intervals are conservative.

    Of 60 intervals that cover 95 %, 51 or fewer cover once in 100 runs.
    """
    truth = {shift: float(norm.sf(norm.ppf(SPECIFICITY) - shift)) for shift in (1.5, 0.8)}
    widespread = [LABEL_NAMES.index(name) for name in GROUPS["widespread"].diseases]
    covered = dict.fromkeys(("photographs", "difference", "mean"), 0)
    for seed in range(60):
        rng = np.random.default_rng(1000 + seed)
        labels, scores = graded(rng, 400, dict.fromkeys((GC, *widespread), 1.5))
        shift = 1.5 * (labels == 1)
        shared_NK = np.repeat(rng.normal(size=200), 2)[:, None] * np.ones(NUM_LABELS)
        scores = (0.5 * shared_NK + np.sqrt(0.75) * (scores - shift) + shift).astype(np.float32)
        result = compare_sensitivities(held_out(labels, scores), *graded(rng, 500, {GC: 0.8}), {}, 0)
        disease = result.diseases["is_gc"]
        alike = compare_sensitivities(held_out(labels, scores), labels, scores, {}, 0)
        means = [alike.diseases[name].photographs for name in GROUPS["widespread"].diseases]
        for name, measure, true in (
            ("photographs", disease.photographs, truth[1.5]),
            ("difference", disease.difference, truth[0.8] - truth[1.5]),
            ("mean", independent_mean(means), truth[1.5]),
        ):
            _, low, high = measure.interval
            covered[name] += low <= true <= high
    assert min(covered.values()) >= 52, covered
