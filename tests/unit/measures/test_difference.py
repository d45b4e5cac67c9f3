"""Differences of independent metrics equal statsmodels; exact intervals equal scipy."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import binomtest
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from synfundus.measures.crossed import CrossedMean
from synfundus.measures.difference import Difference, independent_difference
from synfundus.measures.intervals import exact_interval, exact_upper_bound
from synfundus.measures.measure import Measure
from synfundus.measures.statistics import proportion


def test_difference_of_independent_shares_is_newcombe_s() -> None:
    for (a, n), (b, m) in (((56, 70), (48, 80)), ((9, 10), (3, 10)), ((10, 10), (0, 20))):
        difference = independent_difference(proportion(np.arange(n) < a), proportion(np.arange(m) < b))
        low, high = confint_proportions_2indep(a, n, b, m, method="newcomb", compare="diff")
        assert difference.interval == pytest.approx((a / n - b / m, low, high), abs=1e-9)
        assert difference.n == min(n, m)


def test_a_metric_that_is_not_measurable_gives_its_reason() -> None:
    unknown = Measure.not_measurable("no image", 0)
    assert independent_difference(unknown, proportion([True, False])).reason == "no image"
    assert independent_difference(proportion([True, False]), unknown).reason == "no image"


def test_exact_interval_and_bound_equal_scipy_and_statsmodels() -> None:
    for count, n in ((0, 10), (3, 10), (10, 10), (250, 400)):
        expected = binomtest(count, n).proportion_ci(method="exact")
        assert exact_interval(count, n) == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert exact_interval(count, n) == pytest.approx(proportion_confint(count, n, method="beta"), abs=1e-9)
        bound = binomtest(count, n, alternative="less").proportion_ci(method="exact").high
        assert exact_upper_bound(count, n) == pytest.approx(bound, abs=1e-12)
    assert exact_upper_bound(0, 3000) == pytest.approx(1 - 0.05 ** (1 / 3000), rel=1e-9)


def test_a_difference_has_all_its_numbers_or_none() -> None:
    measure = Measure.measured(0.1, 0.0, 0.2, 50)
    with pytest.raises(ValidationError, match="P value"):
        Difference(measure=measure, num_patients=40)
    difference = Difference(
        measure=measure, p_value=0.05, standard_error=0.05, patient_freedom=39.0, seed_share=0.0, num_patients=40
    )
    assert difference.mean == CrossedMean(0.1, 0.05, 39.0)
    assert Difference.tested(measure, CrossedMean(0.1, 0.05, 39.0), 0.05, 40) == difference
    seeds = CrossedMean(0.1, 0.05, 39.0, 2.0, 0.4)
    assert Difference.tested(measure, seeds, 0.05, 40).mean == seeds
    assert Difference.from_json(difference.to_json(), "a difference") == difference
    missing = Difference.not_measurable("no image", 0)
    assert missing.mean is None
    assert Difference.from_json(missing.to_json(), "a difference") == missing
