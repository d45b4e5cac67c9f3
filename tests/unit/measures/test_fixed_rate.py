"""Sensitivity at a fixed false positive rate equals scikit-learn's curve and needs the stated number of negatives."""

import numpy as np
import pytest
from scipy.stats import binom, norm
from sklearn.metrics import roc_curve
from statsmodels.stats.proportion import proportion_confint

from synfundus.measures.fixed_rate import negatives_needed, sensitivity_at


def test_value_is_the_highest_sensitivity_at_a_rate_no_larger_than_stated() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [500, 300])
    score = np.round(rng.normal(y * 1.5, 1.0), 2)  # rounded: ties
    rate, sensitivity, _ = roc_curve(y, score, drop_intermediate=False)
    for allowed in (0.01, 0.05, 0.1):
        expected = sensitivity[rate <= allowed + 1e-12].max()
        assert sensitivity_at(allowed, y, score).value == pytest.approx(expected, rel=1e-12)


def test_with_a_known_threshold_the_interval_is_wilson_s() -> None:
    """Negatives that all score 0 leave no doubt about the threshold."""
    score = np.r_[np.zeros(4000), np.ones(70), np.zeros(30)]
    y = np.repeat([0, 1], [4000, 100])
    low, high = proportion_confint(70, 100, method="wilson")
    assert sensitivity_at(0.1, y, score).interval == pytest.approx((0.7, low, high), abs=1e-9)


def test_needed_negatives_are_the_smallest_number_whose_largest_score_exceeds_the_threshold() -> None:
    for rate, needed in ((0.1, 36), (0.01, 368), (0.001, 3688)):
        assert negatives_needed(rate) == needed
        assert binom.cdf(0, needed, rate) <= 0.025 < binom.cdf(0, needed - 1, rate)


def test_fewer_negatives_are_not_measurable() -> None:
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1], [367, 50])
    measure = sensitivity_at(0.01, y, rng.normal(y, 1.0))
    assert not measure.measurable
    assert measure.reason == (
        "367 negatives count as 367 independent ones at this threshold; 1 % false positives need 368"
    )
    assert sensitivity_at(0.01, np.r_[y, 0], rng.normal(np.r_[y, 0], 1.0)).measurable
    assert not sensitivity_at(0.1, [1, 1], [0.0, 1.0]).measurable


def test_images_of_one_patient_do_not_make_a_rate_measurable() -> None:
    rng = np.random.default_rng(2)
    patients = np.r_[np.repeat(np.arange(100), 4), np.arange(1000, 1050)]
    y = np.repeat([0, 1], [400, 50])
    score = np.r_[np.repeat(rng.normal(size=100), 4), rng.normal(1.0, 1.0, 50)]
    assert sensitivity_at(0.01, y, score).measurable
    assert not sensitivity_at(0.01, y, score, patients).measurable


def test_a_score_that_knows_nothing_has_a_sensitivity_of_the_rate() -> None:
    rng = np.random.default_rng(3)
    y = np.repeat([0, 1], [2000, 2000])
    value, low, high = sensitivity_at(0.05, y, rng.normal(size=4000)).interval
    assert low < 0.05 < high
    assert value == pytest.approx(0.05, abs=0.015)


def test_the_uncertain_threshold_widens_the_interval() -> None:
    """The interval of the sensitivity alone, at the estimated threshold, misses the truth far more often."""
    rng = np.random.default_rng(4)
    truth, y = norm.sf(norm.isf(0.05) - 2.0), np.repeat([0, 1], [100, 1000])
    covered = alone = 0
    for _ in range(300):
        value, low, high = sensitivity_at(0.05, y, rng.normal(2.0 * y, 1.0)).interval
        covered += low <= truth <= high
        alone += abs(value - truth) <= 1.96 * np.sqrt(value * (1 - value) / 1000)
    assert covered >= 0.92 * 300
    assert alone < 0.6 * 300
