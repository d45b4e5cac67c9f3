"""Positive predictive value at a stated prevalence: Bayes' rule, scikit-learn, and the coverage of its interval."""

import numpy as np
import pytest
from sklearn.metrics import precision_score

from synfundus.measures.predictive_value import positive_predictive_value, predictive_value


def test_it_is_bayes_rule_at_the_stated_prevalence() -> None:
    y = np.repeat([1, 0], [100, 300])
    predicted = np.concatenate([np.arange(100) < 80, np.arange(300) < 30])
    measure = positive_predictive_value(y, predicted, 0.01)
    assert measure.value == pytest.approx(0.01 * 0.8 / (0.01 * 0.8 + 0.99 * 0.1))
    own = positive_predictive_value(y, predicted, 0.25)
    assert own.value == pytest.approx(precision_score(y, predicted))
    assert own.n == 400


def test_the_interval_covers_in_95_of_100_studies() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([1, 0], [40, 120])
    truth = predictive_value(0.8, 0.9, 0.05)
    covered = []
    for _ in range(1000):
        predicted = rng.uniform(size=160) < np.where(y == 1, 0.8, 0.1)
        _, low, high = positive_predictive_value(y, predicted, 0.05).interval
        covered.append(low <= truth <= high)
    assert 0.93 <= np.mean(covered) <= 0.98


def test_images_of_one_patient_count_once() -> None:
    y = np.repeat([1, 0], [40, 120])
    predicted = np.concatenate([np.arange(40) < 32, np.arange(120) < 12])
    _, low, high = positive_predictive_value(y, predicted, 0.05).interval
    groups = np.concatenate([np.arange(40) // 4, 100 + np.arange(120) // 4])
    _, wide_low, wide_high = positive_predictive_value(y, predicted, 0.05, groups).interval
    assert wide_low < low
    assert high < wide_high


def test_nothing_predicted_positive_or_one_class_is_not_measurable() -> None:
    nothing = positive_predictive_value([1, 0, 0], [0, 0, 0], 0.1)
    assert nothing.reason == "no image is predicted positive"
    assert not positive_predictive_value([1, 1], [1, 1], 0.1).measurable


def test_without_a_false_alarm_the_value_is_1_and_its_lower_bound_is_not() -> None:
    value, low, high = positive_predictive_value([1] * 10 + [0] * 20, [1] * 10 + [0] * 20, 0.1).interval
    assert (value, high) == (1.0, 1.0)
    assert 0.2 < low < 0.9
