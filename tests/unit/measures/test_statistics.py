"""Statistics equal scikit-learn, torchmetrics and the papers' formulas; their intervals cover in simulation."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, norm, ttest_ind
from sklearn.metrics import average_precision_score, cohen_kappa_score, f1_score, roc_auc_score
from torchmetrics.functional.classification import binary_calibration_error

from synfundus.measures import intervals
from synfundus.measures.measure import Measure
from synfundus.measures.roc import auc, roc_band, roc_curve
from synfundus.measures.statistics import (
    average_precision,
    ece,
    f1,
    proportion,
    quadratic_kappa,
    ratio_of_means,
    sensitivity,
    specificity,
)


def _labels_and_scores(n: int = 300, shift: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return y, np.round(rng.normal(shift * y, 1.0), 1)  # rounded: many ties


def _bounds(measure: Measure) -> tuple[float, float, float]:
    value, low, high = measure.interval
    assert low <= value <= high
    return value, low, high


def test_values_equal_scikit_learn() -> None:
    y, s = _labels_and_scores()
    predicted = s > 0.5
    assert auc(y, s).value == pytest.approx(roc_auc_score(y, s), rel=1e-12)
    assert average_precision(y, s).value == pytest.approx(average_precision_score(y, s), rel=1e-12)
    assert f1(y, predicted).value == pytest.approx(f1_score(y, predicted), rel=1e-12)
    rng = np.random.default_rng(1)
    grades = rng.integers(0, 5, 200)
    predicted_grades = np.clip(grades + rng.integers(-1, 2, 200), 0, 4)
    expected = cohen_kappa_score(grades, predicted_grades, weights="quadratic", labels=range(5))
    assert quadratic_kappa(grades, predicted_grades).value == pytest.approx(expected, rel=1e-12)


def test_calibration_error_equals_torchmetrics() -> None:
    rng = np.random.default_rng(2)
    p = rng.uniform(0, 1, 500)
    y = (rng.uniform(0, 1, 500) < p**2).astype(int)
    expected = binary_calibration_error(torch.from_numpy(p), torch.from_numpy(y), n_bins=10, norm="l1")
    assert ece(y, p).value == pytest.approx(float(expected), rel=1e-5)


def _delong_variance(positive: np.ndarray, negative: np.ndarray) -> float:
    """DeLong et al. 1988, equations (4) to (6), written out over all pairs."""
    psi = (positive[:, None] > negative[None, :]) + 0.5 * (positive[:, None] == negative[None, :])
    return float(psi.mean(1).var(ddof=1) / len(positive) + psi.mean(0).var(ddof=1) / len(negative))


def test_auc_interval_is_delong_on_the_logit_scale() -> None:
    y, s = _labels_and_scores(n=2000)
    value, low, high = _bounds(auc(y, s))
    sd = np.sqrt(_delong_variance(s[y == 1], s[y == 0]))
    half = (np.log(high / (1 - high)) - np.log(low / (1 - low))) / 2
    assert half == pytest.approx(norm.ppf(0.975) * sd / (value * (1 - value)), rel=5e-3)


def test_auc_interval_covers_the_true_auc_and_few_positives_do_not_shrink_it() -> None:
    rng = np.random.default_rng(3)
    shift = 1.5
    truth = norm.cdf(shift / np.sqrt(2))
    for num_positive, num_negative in ((3, 60), (10, 60), (50, 50)):
        y = np.r_[np.ones(num_positive), np.zeros(num_negative)]
        covered = 0
        for _ in range(300):
            _, low, high = _bounds(auc(y, rng.normal(shift * y, 1.0)))
            covered += low <= truth <= high
        assert covered >= 0.92 * 300, (num_positive, num_negative, covered)


def test_images_of_one_patient_do_not_count_as_independent() -> None:
    rng = np.random.default_rng(4)
    truth = norm.cdf(1.0 / np.sqrt(2))
    patients = np.repeat(np.arange(40), 5)
    with_patients = without = 0
    for _ in range(200):
        y = np.repeat(rng.permutation(np.r_[np.ones(20), np.zeros(20)]), 5)
        s = y + np.repeat(rng.normal(0, 1, 40), 5) + rng.normal(0, 0.05, 200)
        _, low, high = _bounds(auc(y, s, patients))
        with_patients += low <= truth <= high
        _, low, high = _bounds(auc(y, s))
        without += low <= truth <= high
    assert with_patients >= 0.90 * 200
    assert without < 0.75 * 200


def test_auc_of_complete_separation_still_has_a_width() -> None:
    value, low, high = _bounds(auc([1, 1, 1, 0, 0, 0, 0], [9, 8, 7, 1, 2, 3, 4]))
    assert (value, high) == (1.0, 1.0)
    assert 0.3 < low < 0.8
    many = _bounds(auc(np.r_[np.ones(100), np.zeros(100)], np.arange(200)[::-1]))
    assert many[1] > 0.95
    assert _bounds(auc([0, 0, 0, 1, 1, 1, 1], [9, 8, 7, 1, 2, 3, 4]))[2] == pytest.approx(1 - low)
    _, low, high = _bounds(auc([1, 1, 0, 0], [5, 5, 5, 5]))
    assert low < 0.5 < high


def test_wilson_interval_equals_scipy() -> None:
    for k, n in ((0, 10), (3, 10), (10, 10), (250, 400)):
        _, low, high = _bounds(proportion(np.arange(n) < k))
        expected = binomtest(k, n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_copies_of_a_patient_add_nothing_to_a_proportion() -> None:
    x = np.random.default_rng(5).integers(0, 2, 60).astype(bool)
    _, low, high = _bounds(proportion(np.repeat(x, 4), np.repeat(np.arange(60), 4)))
    assert (low, high) == pytest.approx(_bounds(proportion(x))[1:], abs=3e-3)


def test_sensitivity_and_specificity_count_their_own_class() -> None:
    y, predicted = np.array([1, 1, 1, 1, 0, 0]), np.array([1, 1, 1, 0, 0, 1])
    assert (sensitivity(y, predicted).value, sensitivity(y, predicted).n) == (0.75, 4)
    assert (specificity(y, predicted).value, specificity(y, predicted).n) == (0.5, 2)


@pytest.mark.parametrize("name", ["average_precision", "f1", "quadratic_kappa", "ece"])
def test_interval_matches_the_spread_of_repeated_data_sets(name: str) -> None:
    """The interval of one data set is as wide as the spread of 400 data sets from the same distribution."""
    rng = np.random.default_rng(6)

    def measure_new_data() -> Measure:
        y = rng.integers(0, 2, 400)
        s = rng.normal(1.2 * y, 1.0)
        if name == "average_precision":
            return average_precision(y, s)
        if name == "f1":
            return f1(y, s > 0.6)
        if name == "ece":
            return ece(y, np.clip(0.5 + 0.45 * np.sign(s - 0.6), 0, 1))
        grade = rng.integers(0, 5, 400)
        return quadratic_kappa(grade, np.clip(np.round(grade + rng.normal(0, 1.2, 400)), 0, 4))

    original = intervals.NUM_RESAMPLES
    widths = [(m[2] - m[1]) for m in (_bounds(measure_new_data()) for _ in range(5))]
    intervals.NUM_RESAMPLES = 2
    try:
        values = [measure_new_data().value for _ in range(400)]
    finally:
        intervals.NUM_RESAMPLES = original
    assert np.mean(widths) == pytest.approx(2 * norm.ppf(0.975) * np.std(np.asarray(values, float)), rel=0.25)


def test_intervals_are_the_same_on_every_call() -> None:
    y, s = _labels_and_scores(n=100)
    assert average_precision(y, s) == average_precision(y, s)


def test_one_class_is_not_measurable_and_never_a_number() -> None:
    for measure in (auc, average_precision, sensitivity, specificity, f1, ece):
        for y in (np.ones(5, int), np.zeros(5, int)):
            result = measure(y, np.linspace(0, 1, 5))
            assert not result.measurable
            assert result.value is None
    assert not quadratic_kappa([2, 2, 2], [0, 1, 2]).measurable
    assert not auc([1, 0, 0], [1, 0, 0]).measurable  # one positive has no variance
    assert not proportion([]).measurable


def test_wrong_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="0 and 1"):
        auc([0, 1, 2], [0, 1, 2])
    with pytest.raises(ValueError, match="probabilities"):
        ece([0, 1], [0.2, 1.4])
    with pytest.raises(ValueError, match="grades"):
        quadratic_kappa([0, 5], [0, 1])
    with pytest.raises(ValueError, match="groups"):
        auc([0, 1, 1], [0, 1, 2], ["a"])


def test_roc_curve_has_the_area_of_the_auc() -> None:
    y, s = _labels_and_scores(n=4000)
    x, tpr = roc_curve(y, s)
    assert np.trapezoid(tpr, x) == pytest.approx(roc_auc_score(y, s), abs=2e-3)
    assert (x[0], x[-1], tpr[-1]) == (0.0, 1.0, 1.0)
    assert roc_curve([1, 1, 0, 0], [4, 3, 2, 1])[1][0] == 1.0


def test_roc_band_holds_the_true_curve_at_each_point() -> None:
    """For scores N(1, 1) and N(0, 1) the true curve is known: 95 % of the bands contain it at a rate of 0.2."""
    truth = norm.sf(norm.isf(0.2) - 1.0)
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        y = np.r_[np.ones(60), np.zeros(60)].astype(int)
        rate, curve, low, high = roc_band(y, rng.normal(y.astype(float), 1.0))
        assert np.all(low <= curve)
        assert np.all(curve <= high)
        held += low[20] <= truth <= high[20]
        assert rate[20] == pytest.approx(0.2)
    assert held >= 0.95 * 200


def test_roc_band_surrounds_the_curve() -> None:
    y, score = np.array([0, 1, 0, 1, 1, 0]), np.array([0.1, 0.8, 0.4, 0.35, 0.9, 0.5])
    np.testing.assert_array_equal(roc_band(y, score)[1], roc_curve(y, score)[1])


def test_ratio_of_means_of_independent_values_is_welch_s_interval_of_the_relative_values() -> None:
    """On the log scale the delta method is Welch's interval of the values over their means."""
    rng = np.random.default_rng(7)
    x, y = rng.gamma(4, 2, 30), rng.gamma(9, 1, 55)
    value, low, high = _bounds(ratio_of_means(x, y))
    expected = ttest_ind(x / x.mean(), y / y.mean(), equal_var=False).confidence_interval()
    assert value == pytest.approx(x.mean() / y.mean(), rel=1e-12)
    assert (np.log(low / value), np.log(high / value)) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_interval_of_a_ratio_of_means_covers_it_also_for_several_images_of_a_patient() -> None:
    rng = np.random.default_rng(8)
    patients = np.repeat(np.arange(25), 4)
    covered = without = 0
    for _ in range(400):
        x = rng.gamma(3, 1, 80)  # mean 3
        y = np.repeat(rng.gamma(4, 1, 25), 4) + rng.gamma(2, 1, 100)  # mean 6, alike within a patient
        _, low, high = _bounds(ratio_of_means(x, y, None, patients))
        covered += low <= 0.5 <= high
        _, low, high = _bounds(ratio_of_means(x, y))
        without += low <= 0.5 <= high
    assert covered >= 0.92 * 400
    assert without < 0.90 * 400


def test_a_ratio_without_power_or_patients_is_not_measurable() -> None:
    assert ratio_of_means([1.0, 2.0], [0.0, 0.0]).reason == "a mean is 0"
    assert ratio_of_means([1.0, 2.0], [1.0, 2.0], None, ["a", "a"]).reason == "1 patients; needs 2 of each set"
    assert ratio_of_means([], [1.0, 2.0]).reason == "0 patients; needs 2 of each set"
    assert _bounds(ratio_of_means([2.0, 2.0], [1.0, 1.0])) == (2.0, 2.0, 2.0)
