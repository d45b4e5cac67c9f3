"""Detectable differences equal statsmodels and published numbers, and are found as often as stated."""

import numpy as np
import pytest
from scipy.stats import nct, norm, t
from statsmodels.stats.power import NormalIndPower, TTestPower

from synfundus.measures.crossed import CrossedMean, crossed_mean
from synfundus.measures.paired import paired_difference
from synfundus.measures.power import (
    auc_standard_error,
    detectable_auc_difference,
    detectable_difference,
    power_of_auc_difference,
)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 12])
@pytest.mark.parametrize("freedom", [2, 9, 80])
def test_detectable_difference_equals_statsmodels(freedom: int, alpha: float) -> None:
    """A paired t test of n = freedom + 1 with a standard deviation of sqrt(n) has a standard error of 1."""
    n = freedom + 1
    found = detectable_difference(1.0, freedom, alpha)
    assert TTestPower().power(found / np.sqrt(n), nobs=n, alpha=alpha) == pytest.approx(0.8, abs=1e-4)
    assert detectable_difference(0.03, freedom, alpha) == pytest.approx(0.03 * found, rel=1e-12)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_power_over_several_seeds_is_that_of_the_test_at_its_level(share: float) -> None:
    """The critical value of the planned test is Cochran and Cox's, and three seeds find the difference as stated."""
    level, draws, rng = 0.05 / 12, 4000, np.random.default_rng(0)
    mean = CrossedMean(0.0, 1.0, 60.0, 2.0, share)
    critical = share * t.ppf(1 - level / 2, 2) + (1 - share) * t.ppf(1 - level / 2, 60)
    freedom = mean.freedom_at(level)
    found = detectable_difference(1.0, freedom, level)
    assert nct.sf(critical, freedom, found) == pytest.approx(0.8, abs=1e-6)
    values = found + np.sqrt(1 - share) * rng.normal(size=(draws, 1)) + np.sqrt(3 * share) * rng.normal(size=(draws, 3))
    shared = (1 - share) * rng.chisquare(60, draws) / 60
    p_values = [crossed_mean(row, np.full((3, 3), c), 61).p_value for row, c in zip(values, shared, strict=True)]
    assert 0.72 < np.mean(np.array(p_values) < level) < 0.84


def test_standard_error_of_an_auc_gives_the_published_sample_sizes() -> None:
    """Hanley & McNeil 1982, table III: images of each class that tell an AUC of 0.70 from 0.75, one-sided 5 %."""
    many = 10**7
    variance, other_variance = (many * auc_standard_error(auc, many, many) ** 2 for auc in (0.70, 0.75))
    for power, published in ((0.80, 652), (0.90, 897), (0.95, 1131)):
        length = norm.ppf(0.95) * np.sqrt(2 * variance) + norm.ppf(power) * np.sqrt(variance + other_variance)
        assert (length / 0.05) ** 2 == pytest.approx(published, abs=2)
    assert auc_standard_error(1.0, 51, 58) == 0.0


def test_power_of_unpaired_aucs_equals_statsmodels() -> None:
    """Without correlation it is the normal test of two means with these standard errors."""
    errors = np.hypot(auc_standard_error(0.8, 90, 110), auc_standard_error(0.87, 90, 110))
    expected = NormalIndPower().power(0.07 / errors, nobs1=1, alpha=0.05, ratio=0)
    assert power_of_auc_difference(0.8, 0.87, 90, 110, correlation=0.0) == pytest.approx(expected, abs=1e-3)


def test_detectable_auc_difference_has_a_power_of_80_percent_and_shrinks_with_patients() -> None:
    small = detectable_auc_difference(0.8, 100, 300, 0.5)
    large = detectable_auc_difference(0.8, 400, 1200, 0.5)
    assert small is not None
    assert large is not None
    assert power_of_auc_difference(0.8, 0.8 + small, 100, 300, 0.5) == pytest.approx(0.8, abs=1e-6)
    assert large == pytest.approx(small / 2, rel=0.1)
    assert detectable_auc_difference(0.97, 10, 10, 0.5) is None


def test_delong_s_test_finds_the_detectable_difference_in_80_percent_of_simulated_studies() -> None:
    """Binormal scores; the correlation of the two AUCs is that of the simulation itself."""
    rng = np.random.default_rng(0)
    num_positive, num_negative, base = 60, 120, 0.75
    y = np.r_[np.ones(num_positive), np.zeros(num_negative)].astype(int)

    def study(other: float) -> tuple[bool, float, float]:
        shift = np.sqrt(2) * norm.ppf([[base], [other]])
        scores = shift * y + np.sqrt(0.5) * rng.normal(size=len(y)) + np.sqrt(0.5) * rng.normal(size=(2, len(y)))
        difference = paired_difference("auc", y, scores[1], scores[0])
        assert difference.p_value is not None
        assert difference.measure.value is not None
        assert difference.standard_error is not None
        return difference.p_value < 0.05, difference.measure.value, difference.standard_error

    errors = [study(0.84)[2] for _ in range(50)]
    single = auc_standard_error(base, num_positive, num_negative), auc_standard_error(0.84, num_positive, num_negative)
    correlation = (single[0] ** 2 + single[1] ** 2 - np.mean(errors) ** 2) / (2 * single[0] * single[1])
    gain = detectable_auc_difference(base, num_positive, num_negative, float(correlation))
    assert gain is not None
    found = np.mean([study(base + gain)[0] for _ in range(400)])
    assert 0.72 < found < 0.88
