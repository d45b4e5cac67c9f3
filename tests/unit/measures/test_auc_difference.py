"""The interval of a difference of AUCs is MOVER's with correlation, and its P value inverts it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t as student

from synfundus.measures.auc_difference import joined_difference
from synfundus.measures.crossed import CrossedMean
from synfundus.measures.difference import independent_difference
from synfundus.measures.intervals import logit_interval, stretched_logit_interval
from synfundus.measures.measure import Measure


def arms(a: float, b: float, correlation: float, freedom: float = 60.0) -> tuple[CrossedMean, CrossedMean, CrossedMean]:
    """Return two AUCs with standard errors of 0.02 and 0.03, and their difference."""
    error = np.sqrt(0.02**2 + 0.03**2 - 2 * correlation * 0.02 * 0.03)
    errors = ((a, 0.02), (b, 0.03), (a - b, float(error)))
    first, second, difference = (CrossedMean(value, sd, freedom) for value, sd in errors)
    return first, second, difference


def test_without_correlation_it_is_the_difference_of_independent_auc_intervals() -> None:
    quantile = student.ppf(0.975, 60)
    parts = []
    for value, error in ((0.95, 0.02), (0.85, 0.03)):
        width = quantile * error / (value * (1 - value))
        low, high = expit(logit(value) + np.array([-width, width])).tolist()
        parts.append(Measure.measured(value, low, high, 100))
    joined = joined_difference(*arms(0.95, 0.85, 0.0))
    assert joined is not None
    assert joined[:2] == pytest.approx(independent_difference(*parts).interval[1:], rel=1e-9)


@pytest.mark.parametrize(("a", "b"), [(0.95, 0.85), (0.85, 0.95), (0.9, 0.88), (0.99, 0.6)])
def test_the_p_value_is_the_level_at_which_the_interval_ends_at_0(a: float, b: float) -> None:
    first, second, difference = arms(a, b, 0.5)
    joined = joined_difference(first, second, difference)
    assert joined is not None
    low, high, p_value = joined
    assert (low > 0.0 or high < 0.0) == (p_value < 0.05)
    quantile = student.isf(p_value / 2, 60)
    if quantile < 39.0:
        (a_low, a_high), (b_low, b_high) = (
            expit(logit(v) + np.array([-1, 1]) * quantile * sd / (v * (1 - v))) for v, sd in ((a, 0.02), (b, 0.03))
        )
        x, y = (a - a_low, b_high - b) if a > b else (a_high - a, b - b_low)
        assert abs(a - b) == pytest.approx(np.sqrt(x**2 + y**2 - 2 * 0.5 * x * y), rel=1e-6)


def test_far_from_1_it_is_nearly_student_s_t() -> None:
    first, second, difference = arms(0.55, 0.5, 0.5, 400.0)
    joined = joined_difference(first, second, difference)
    assert joined is not None
    width = difference.quantile * difference.standard_error
    assert joined[:2] == pytest.approx((0.05 - width, 0.05 + width), abs=2e-3)
    assert joined[2] == pytest.approx(difference.p_value, abs=0.01)


def test_arms_that_are_equal_but_for_rounding_have_a_p_value_of_1() -> None:
    first, second, difference = arms(0.9, 0.9, 0.5)
    joined = joined_difference(first, second, replace(difference, value=3e-17))
    assert joined is not None
    assert joined[2] == 1.0


def test_a_perfect_arm_has_no_logit_interval() -> None:
    perfect = CrossedMean(1.0, 0.0, 60.0)
    assert joined_difference(perfect, CrossedMean(0.9, 0.02, 60.0), CrossedMean(0.1, 0.02, 60.0)) is None


def test_the_uncertain_variance_of_three_seeds_does_not_skew_the_interval_of_nearly_perfect_arms() -> None:
    """On the logit scale alone, the interval would reach from -0.93 to 0.69."""
    patients, seeds = 26.0, 2.0
    first, second = (CrossedMean(value, 0.001, patients, seeds, 0.9) for value in (0.9996, 0.9995))
    difference = CrossedMean(0.0001, 0.0012, patients, seeds, 0.95)
    joined = joined_difference(first, second, difference)
    assert joined is not None
    low, high, p_value = joined
    assert -0.2 < low < 0.0 < high < 0.2
    assert p_value > 0.05


def test_one_seed_has_no_quantile_beyond_which_its_interval_is_stretched() -> None:
    assert CrossedMean(0.9, 0.01, 26.0).logit_quantile == np.inf
    three = CrossedMean(0.9, 0.01, 26.0, 2.0, 0.5)
    assert three.logit_quantile == pytest.approx(student.ppf(0.975, 26))
    assert three.logit_quantile < three.quantile


@pytest.mark.parametrize("lower_end", [0.0, -1.0])
def test_an_interval_is_stretched_in_proportion_beyond_its_logit_quantile_and_stays_in_its_range(
    lower_end: float,
) -> None:
    value, error = 0.9, 0.02
    at_two, low, high = (stretched_logit_interval(value, error, q, 2.0, lower_end) for q in (2.0, 1.5, 4.0))
    assert at_two == logit_interval(value, error, 2.0, lower_end)
    assert low == logit_interval(value, error, 1.5, lower_end)
    assert value - high[0] == pytest.approx(2.0 * (value - at_two[0]))
    assert high[1] - value == pytest.approx(2.0 * (at_two[1] - value))
    assert stretched_logit_interval(value, error, 400.0, 2.0, lower_end) == (lower_end, 1.0)
    assert stretched_logit_interval(value, error, 0.0, 2.0, lower_end) == pytest.approx((value, value))
