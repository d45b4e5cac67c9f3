"""Means over training seeds and paired differences equal published analyses, scikit-learn and a plain bootstrap."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm, ttest_rel
from scipy.stats import t as student
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    cohen_kappa_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)
from torchmetrics.functional.classification import binary_calibration_error

from synfundus.measures.crossed import CrossedMean, crossed_mean
from synfundus.measures.inputs import Floats
from synfundus.measures.metric_names import METRIC_NAMES, MetricName
from synfundus.measures.paired import SINGLE, paired_difference, seed_mean
from synfundus.measures.roc import auc_covariance

BINARY = ("accuracy", "precision", "recall", "f1")
DELONG = """
3.0 5.8 10 0   3.2 6.3  5 1   3.9 6.8  3 1   2.8 4.8  6 0   3.2 5.8  3 1   0.9 4.0  5 0   2.5 5.7  8 0   1.6 5.6  5 1
3.8 5.7  5 1   3.7 6.7  6 1   3.2 5.4  4 1   3.8 6.6  6 1   4.1 6.6  5 1   3.6 5.7  5 1   4.3 7.0  4 1   3.6 6.7  4 0
2.3 4.4  6 1   4.2 7.6  4 0   4.0 6.6  6 0   3.5 5.8  6 1   3.8 6.8  7 1   3.0 4.7  8 0   4.5 7.4  5 1   3.7 7.4  5 1
3.1 6.6  6 1   4.1 8.2  6 1   4.3 7.0  5 1   4.3 6.5  4 1   3.2 5.1  5 1   2.6 4.7  6 1   3.3 6.8  6 0   1.7 4.0  7 0
3.7 6.1  5 1   3.3 6.3  7 1   4.2 7.7  6 1   3.5 6.2  5 1   2.9 5.7  9 0   2.1 4.8  7 1   2.8 6.2  8 0   4.0 7.0  7 1
3.3 5.7  6 1   3.7 6.9  5 1   3.6 6.6  5 1
"""
"""Albumin, total protein, K-G score and outcome of the patients of DeLong, DeLong & Clarke-Pearson 1988."""


def _predictions(
    metric: MetricName, num_seeds: int = 3, num_patients: int = 90, seed: int = 0
) -> tuple[NDArray[Any], ...]:
    """Return labels, predictions (2, S, n) of two arms, and patients, with two images of a patient."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(num_patients), 2)
    if metric == "quadratic_kappa":
        y = rng.integers(0, 5, len(patients))
        noise = rng.normal(0, 1, (2, num_seeds, len(patients))) * np.array([0.8, 1.1])[:, None, None]
        return y, np.clip(np.round(y + noise), 0, 4), patients
    y = rng.integers(0, 2, len(patients))
    s = np.round(y * np.array([1.5, 1.2])[:, None, None] + rng.normal(0, 1, (2, num_seeds, len(patients))), 2)
    if metric in BINARY:
        return y, (s > 0.6).astype(float), patients
    return y, 1 / (1 + np.exp(-s)) if metric == "ece" else s, patients


def _reference(metric: MetricName, y: NDArray[Any], prediction: Floats) -> float:
    import torch

    functions = {
        "auc": roc_auc_score,
        "average_precision": average_precision_score,
        "accuracy": accuracy_score,
        "precision": precision_score,
        "recall": recall_score,
        "f1": f1_score,
        "quadratic_kappa": lambda a, b: cohen_kappa_score(a, b, weights="quadratic", labels=range(5)),
        "ece": lambda a, b: binary_calibration_error(torch.from_numpy(b), torch.from_numpy(a), n_bins=10, norm="l1"),
    }
    return float(functions[metric](y, prediction))


@pytest.mark.parametrize("metric", METRIC_NAMES)
def test_values_equal_the_reference_averaged_over_seeds(metric: MetricName) -> None:
    y, arms, patients = _predictions(metric)
    first, second = ([_reference(metric, y, row) for row in arm] for arm in arms)
    tolerance = 1e-5 if metric == "ece" else 1e-12  # torchmetrics computes in float32
    assert seed_mean(metric, y, arms[0], patients).value == pytest.approx(np.mean(first), rel=tolerance)
    assert SINGLE[metric](y, arms[0][0], patients).value == pytest.approx(first[0], rel=tolerance)
    difference = paired_difference(metric, y, arms[0], arms[1], patients)
    assert difference.measure.value == pytest.approx(np.mean(first) - np.mean(second), abs=tolerance)


def _delong_data() -> tuple[Floats, NDArray[np.bool_]]:
    """Return the scores (K-G score, albumin, total protein), oriented as published, and the outcome."""
    rows = np.array(DELONG.split(), float).reshape(-1, 4)
    return np.stack([10 - rows[:, 2], rows[:, 0], rows[:, 1]]), rows[:, 3] == 1


def test_auc_difference_equals_the_published_delong_analysis() -> None:
    """SAS/STAT User's Guide, example "Comparing Receiver Operating Characteristic Curves" (PROC LOGISTIC)."""
    scores, outcome = _delong_data()
    theta, covariance = auc_covariance(outcome, scores, np.arange(len(outcome)))
    assert theta == pytest.approx([0.7258, 0.7366, 0.6478], abs=5e-5)
    assert np.sqrt(np.diag(covariance)) == pytest.approx([0.1028, 0.0927, 0.1000], abs=5e-5)
    for place, value, error in ((1, 0.0108, 0.0953), (2, -0.0780, 0.1046)):
        difference = paired_difference("auc", outcome, scores[place], scores[0])
        assert difference.measure.value == pytest.approx(value, abs=5e-5)
        assert difference.standard_error == pytest.approx(error, abs=5e-5)


def test_auc_covariance_is_delong_s_over_all_pairs() -> None:
    """DeLong et al. 1988, equations (4) to (6), written out over all pairs."""
    rng = np.random.default_rng(1)
    positive = rng.random(60) < 0.4
    scores = np.round(rng.normal(positive * 1.0, 1.0, (3, 60)), 1)
    psi = (scores[:, positive, None] > scores[:, None, ~positive]) + 0.5 * (
        scores[:, positive, None] == scores[:, None, ~positive]
    )
    expected = np.cov(psi.mean(2)) / positive.sum() + np.cov(psi.mean(1)) / (~positive).sum()
    theta, covariance = auc_covariance(positive, scores, np.arange(60))
    assert theta == pytest.approx(psi.mean((1, 2)), rel=1e-12)
    assert covariance == pytest.approx(expected, rel=1e-12)


def test_auc_covariance_of_whole_patients_ignores_repeated_images() -> None:
    """If each image of a patient is there three times, the clustered covariance stays that of single images."""
    rng = np.random.default_rng(2)
    positive = rng.random(80) < 0.5
    scores = rng.normal(positive * 1.0, 1.0, (2, 80))
    once = auc_covariance(positive, scores, np.arange(80))
    thrice = auc_covariance(np.repeat(positive, 3), np.repeat(scores, 3, axis=1), np.repeat(np.arange(80), 3))
    assert thrice[0] == pytest.approx(once[0], rel=1e-12)
    assert thrice[1] == pytest.approx(once[1], rel=1e-12)


def test_mean_over_seeds_equals_the_published_multi_reader_analysis() -> None:
    """Van Dyke's data with readers as seeds: output of RJafroc 2 (OR method, random readers and cases)."""
    first = np.array([0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066])
    second = np.array([0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169])
    covariance_2, covariance_3 = 0.00034407483, 0.00023902837
    shared = np.full((5, 5), 2 * (covariance_2 - covariance_3))
    mean = crossed_mean(first - second, shared, num_patients=10**9)
    assert mean.value == pytest.approx(-0.043800322, abs=1e-8)
    assert mean.standard_error == pytest.approx(0.020748618, rel=1e-6)
    assert mean.p_value > 0.051665686  # with Hillis' degrees of freedom, see `crossed`
    single = crossed_mean(first, np.full((5, 5), 0.00048396180), num_patients=10**9)
    assert single.standard_error == pytest.approx(0.033173597, rel=1e-6)


def test_the_quantile_of_a_mean_over_seeds_is_cochran_and_cox_s() -> None:
    """It is w t(2) + (1 - w) t(60) for a variance whose share w has 2 degrees of freedom and whose rest has 60."""
    mean = CrossedMean(2.9, 1.0, patient_freedom=60.0, seed_freedom=2.0, seed_share=0.4)
    at = [0.4 * student.ppf(p, 2) + 0.6 * student.ppf(p, 60) for p in (0.975, 1 - 1e-3)]
    assert mean.quantile == pytest.approx(at[0], rel=1e-9)
    assert student.ppf(0.975, mean.freedom_at(0.05)) == pytest.approx(at[0], rel=1e-9)
    assert student.ppf(1 - 1e-3, mean.freedom_at(2e-3)) == pytest.approx(at[1], rel=1e-9)
    assert mean.p_of(at[0]) == pytest.approx(0.05, rel=1e-9)
    assert mean.p_of(at[1]) == pytest.approx(2e-3, rel=1e-9)
    assert mean.p_of(0.0) == pytest.approx(1.0, abs=1e-9)
    assert 0.0 < mean.p_of(1e200) < 1e-100
    for share, freedom in ((0.0, 60.0), (1.0, 2.0)):
        one_part = replace(mean, seed_share=share)
        assert one_part.freedom_at(0.05) == freedom
        assert one_part.p_value == pytest.approx(2 * student.sf(2.9, freedom), rel=1e-9)


def test_every_share_of_the_seeds_has_degrees_of_freedom() -> None:
    """Also where both parts have equal ones, or where the quantile is that of one part up to rounding."""
    rng = np.random.default_rng(8)
    shares = [*rng.random(300), *(10.0 ** -rng.uniform(1, 18, 300)), *(1.0 - 10.0 ** -rng.uniform(1, 18, 300))]
    for share in shares:
        seed_freedom, level = float(rng.integers(1, 10)), 0.05 / rng.integers(1, 200)
        patient_freedom = float(rng.choice([1.0, seed_freedom, float(rng.integers(1, 1000)), 1e9 - 1, np.inf]))
        mean = CrossedMean(0.1, 0.1, patient_freedom, seed_freedom, share)
        freedom = mean.freedom_at(level)
        assert min(seed_freedom, patient_freedom) <= freedom <= max(seed_freedom, patient_freedom)
        assert mean.p_of(student.ppf(1 - level / 2, freedom)) == pytest.approx(level, rel=1e-6)
    assert CrossedMean(0.1, 0.1, 2.0, 2.0, 0.4).freedom_at(0.05) == 2.0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("level", [0.05, 0.05 / 12])
def test_three_seeds_keep_the_level_wherever_the_variance_lies(share: float, level: float) -> None:
    """Errors of patients with a known variance 1 - w and of three seeds with the variance w; 4000 studies."""
    rng = np.random.default_rng(0)
    draws = 4000
    values = np.sqrt(1 - share) * rng.normal(size=(draws, 1)) + np.sqrt(3 * share) * rng.normal(size=(draws, 3))
    shared = np.full((3, 3), 1.0 - share)
    rejected = np.mean([crossed_mean(values_S, shared, 1000).p_value < level for values_S in values])
    assert rejected < level + 4 * np.sqrt(level / draws)
    if level == 0.05:
        assert rejected > 0.02


def test_accuracy_difference_of_one_seed_is_the_paired_t_test_over_patients() -> None:
    """With one image a patient the standard error is that of a paired t test, but for the noise of the bootstrap."""
    y, arms, _ = _predictions("accuracy", num_seeds=1, num_patients=150)
    difference = paired_difference("accuracy", y, arms[0], arms[1])
    correct = (arms[:, 0] == y).astype(float)
    expected = ttest_rel(correct[0], correct[1])
    assert (difference.patient_freedom, difference.seed_freedom) == (len(y) - 1, None)
    assert difference.measure.value is not None
    assert difference.measure.value == pytest.approx(expected.statistic * difference.standard_error, rel=0.08)


def test_bootstrap_variance_equals_a_plain_resampling_of_patients_with_scikit_learn() -> None:
    y, arms, patients = _predictions("average_precision", num_seeds=1, num_patients=60)
    rng = np.random.default_rng(5)
    drawn = []
    for _ in range(1000):
        rows = np.concatenate([2 * (p := rng.integers(0, 60, 60)), 2 * p + 1])
        scores = [average_precision_score(y[rows], arm[0][rows]) for arm in arms]
        drawn.append(scores[0] - scores[1])
    difference = paired_difference("average_precision", y, arms[0], arms[1], patients)
    assert difference.standard_error == pytest.approx(np.std(drawn), rel=0.1)


@pytest.mark.parametrize("metric", METRIC_NAMES)
def test_interval_excludes_0_exactly_if_p_is_below_5_percent(metric: MetricName) -> None:
    for seed in range(4):
        y, arms, patients = _predictions(metric, num_patients=60 + 60 * seed, seed=seed)
        difference = paired_difference(metric, y, arms[0], arms[1], patients)
        _, low, high = difference.measure.interval
        assert difference.p_value is not None
        assert (low > 0 or high < 0) == (difference.p_value < 0.05)


def test_swapping_the_arms_changes_the_sign_only() -> None:
    for metric in METRIC_NAMES:
        y, arms, patients = _predictions(metric)
        there = paired_difference(metric, y, arms[0], arms[1], patients)
        back = paired_difference(metric, y, arms[1], arms[0], patients)
        value, low, high = there.measure.interval
        assert back.measure.interval == pytest.approx((-value, -high, -low), rel=1e-9, abs=1e-12)
        assert back.p_value == pytest.approx(there.p_value, rel=1e-6)


def test_pairing_narrows_the_interval_of_alike_arms() -> None:
    """Both arms find the same images hard: the paired interval is far narrower than that of independent arms."""
    rng = np.random.default_rng(6)
    y = rng.integers(0, 2, 400)
    common = rng.normal(1.0 * y, 1.0)
    first, second = (common + rng.normal(0, 0.2, 400) for _ in range(2))
    paired = paired_difference("auc", y, first, second).standard_error
    single = np.ptp(seed_mean("auc", y, first).interval[1:]) / 2 / norm.ppf(0.975)
    assert paired is not None
    assert paired < 0.4 * single


def test_seeds_that_disagree_widen_the_interval() -> None:
    rng = np.random.default_rng(7)
    y = rng.integers(0, 2, 2000)
    alike = y * 1.0 + rng.normal(0, 1, (3, 2000))
    apart = y * np.array([[0.5], [1.0], [1.5]]) + rng.normal(0, 1, (3, 2000))
    narrow, wide = (np.ptp(seed_mean("auc", y, scores).interval[1:]) for scores in (alike, apart))
    assert wide > 5 * narrow


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_equal_predictions_still_have_a_width(num_seeds: int) -> None:
    """Two networks that agree on these patients may disagree on others."""
    for metric in METRIC_NAMES:
        y, arms, patients = _predictions(metric, num_seeds)
        perfect = np.stack([y] * num_seeds).astype(float)
        for arm in (arms[0], perfect):
            difference = paired_difference(metric, y, arm, arm, patients)
            if metric == "ece" and arm is perfect:
                assert difference.measure.reason == "neither arm's value has an interval"
                continue
            value, low, high = difference.measure.interval
            assert value == 0.0
            assert low < -0.005 < 0.005 < high, metric
            assert difference.p_value == 1.0
            assert difference.standard_error is not None
            assert difference.standard_error > 0.0


def test_difference_of_two_perfect_networks_still_has_a_width() -> None:
    y = np.repeat([0, 1], 40)
    first, second = y + np.linspace(0, 0.5, 80), y + np.linspace(0.5, 0, 80)
    for scores in ((first, second), (np.stack([first] * 3), np.stack([second] * 3))):
        difference = paired_difference("auc", y, *scores)
        value, low, high = difference.measure.interval
        assert value == 0.0
        assert low < -0.02
        assert high > 0.02
        assert difference.p_value == 1.0


def test_perfect_network_against_a_constant_one_is_significant_not_certain() -> None:
    y = np.repeat([0, 1], 40)
    difference = paired_difference("auc", y, y.astype(float), np.zeros(80))
    value, low, high = difference.measure.interval
    assert value == 0.5
    assert 0.2 < low < 0.5 <= high
    assert difference.p_value is not None
    assert 0 < difference.p_value < 1e-4


def test_what_the_labels_cannot_give_is_not_measurable() -> None:
    ones, scores = np.ones(10, int), np.linspace(0, 1, 10)
    for metric in ("auc", "average_precision", "precision", "recall", "f1", "ece", "quadratic_kappa"):
        difference = paired_difference(metric, ones, scores > 0.5, scores > 0.2)
        assert not difference.measurable
        assert difference.p_value is None
        assert not seed_mean(metric, ones, np.stack([scores > 0.5, scores > 0.2])).measurable
    one_patient = paired_difference("recall", [1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], ["a", "a", "b", "c"])
    assert one_patient.measure.reason == "1 patients carry the estimate; needs 2"
    silent = paired_difference("precision", [1, 0, 1, 0], [[1, 1, 0, 0], [0, 0, 0, 0]], [[1, 0, 0, 0], [1, 0, 0, 0]])
    assert silent.measure.reason == "a network predicts no image positive"
    assert paired_difference("accuracy", [], [], []).measure.reason == "no image"


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="same seeds"):
        paired_difference("auc", [0, 1], [[0, 1], [0, 1]], [0, 1])
    with pytest.raises(ValueError, match="shape"):
        seed_mean("auc", [0, 1], [0, 1, 2])
