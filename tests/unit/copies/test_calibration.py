"""The threshold rejects the stated share of further photographs, whatever the distribution of their distance ratios."""

import numpy as np
import pytest

from synfundus.copies.calibration import calibrate, calibrate_on
from synfundus.copies.reference import TrainingReference
from synfundus.errors import WrongInputError


def test_the_threshold_is_the_order_statistic_of_split_conformal_prediction() -> None:
    ratios = np.arange(1, 200, dtype=np.float64)  # 199 of them
    assert calibrate(ratios, 0.01).threshold == 2.0  # floor(0.01 x 200)
    assert calibrate(ratios[::-1].copy(), 0.05).threshold == 10.0
    assert calibrate(ratios, 0.01).expected_rate == 0.01


def test_too_few_photographs_give_the_smallest_ratio_and_say_what_it_costs() -> None:
    calibration = calibrate(np.array([0.5, 0.3, 0.9]), 0.01)
    assert (calibration.threshold, calibration.expected_rate) == (0.3, 0.25)
    assert calibration.num_held_out == 3


@pytest.mark.parametrize("power", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("num_held_out", [40, 125, 700])
def test_further_photographs_are_rejected_at_the_expected_rate(power: float, num_held_out: int) -> None:
    """2,000 draws of photographs to calibrate on and one more; the bounds are four standard errors."""
    ratios = np.random.default_rng(num_held_out).exponential(size=(2000, num_held_out + 1)) ** power
    calibrations = [calibrate(row[:-1], 0.05) for row in ratios]
    rejected = np.mean([row[-1] < c.threshold for row, c in zip(ratios, calibrations, strict=True)])
    expected = calibrations[0].expected_rate
    assert expected <= 0.05
    assert abs(rejected - expected) < 4 * (expected * (1 - expected) / 2000) ** 0.5


def test_a_dataset_without_validation_photographs_is_refused() -> None:
    reference = TrainingReference(np.ones((4, 8), np.float32), np.arange(4))
    with pytest.raises(WrongInputError, match=r"data/p: no photographs in the split validation, .* too near"):
        calibrate_on(reference, np.ones((0, 8), np.float32), 0.01, "data/p", "cpu")


def test_an_encoder_that_gives_all_photographs_one_descriptor_is_refused() -> None:
    """Every distance is 0, so no ratio lies below the threshold, and exact copies would pass."""
    reference = TrainingReference(np.ones((4, 8), np.float32), np.arange(4))
    with pytest.raises(WrongInputError, match=r"data/p: the threshold .* would be 0, .* train it longer"):
        calibrate_on(reference, np.ones((9, 8), np.float32), 0.01, "data/p", "cpu")


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_threshold_below_which_nothing_lies_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="the threshold of the distance ratio would be"):
        calibrate(np.full(9, value), 0.01)


def test_training_photographs_of_one_patient_have_no_distance_ratio() -> None:
    reference = TrainingReference(np.eye(4, 8, dtype=np.float32), np.zeros(4, np.int64))
    with pytest.raises(WrongInputError, match="data/p: the split train shows one patient"):
        calibrate_on(reference, np.ones((9, 8), np.float32), 0.01, "data/p", "cpu")
