"""Calibrated probabilities and annotations, against closed forms."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logit

from support.operating_points import half_points
from synfundus.diagnosis.calibration import Calibration, HeadCalibration
from synfundus.diagnosis.counts import LabelCounts
from synfundus.diagnosis.fitting import fit_calibration
from synfundus.diagnosis.held_out import Predictions
from synfundus.labels import HEAD_NAMES, HEADS, LABEL_NAMES, NUM_VALUES, FloatArray

GC, SIDE, FUNDUS = (HEADS[name].start for name in ("is_gc", "eye_side", "is_fundus"))
Validation = tuple[Predictions, LabelCounts]


def _annotate(calibration: Calibration, logit_BV: FloatArray) -> tuple[FloatArray, list[dict[str, int | None]]]:
    """Return probabilities and annotations at thresholds of a half."""
    p_BV = calibration.probabilities(logit_BV)
    return p_BV, half_points().annotate(p_BV)


def test_unusable_labels_annotate_null_and_have_no_probability(validation: Validation) -> None:
    predictions, counts = validation
    p_BV, rows = _annotate(fit_calibration(predictions, counts), predictions.logit_BV)
    assert all(row["is_gc"] is None and row["is_fundus"] is None and row["is_pm"] is None for row in rows)
    assert np.isnan(p_BV[:, [GC, FUNDUS]]).all()
    assert [row["eye_side"] for row in rows] == predictions.p_BV[:, SIDE].astype(int).tolist()
    assert all(row.keys() == set(LABEL_NAMES) for row in rows)


def test_grade_probabilities_do_not_increase_and_a_missing_head_follows_the_base_rates(validation: Validation) -> None:
    predictions, counts = validation
    counts.positive_V[3] = 7  # in training, 7 of the 28 with grade >= 3 have grade 4; in validation none has
    calibration = fit_calibration(predictions, counts)
    p_BV = calibration.probabilities(predictions.logit_BV)
    assert (np.diff(p_BV[:, :4], axis=1) <= 0).all()
    np.testing.assert_allclose(p_BV[:, 3], p_BV[:, 2] * 7 / 28, rtol=1e-5)


@pytest.fixture
def calibration_of() -> Callable[..., Calibration]:
    """Function that makes a calibration whose named heads are usable and unscaled."""

    def make(usable: dict[str, float]) -> Calibration:
        return Calibration(
            heads={
                name: HeadCalibration(
                    num_positive=1,
                    num_negative=1,
                    base_rate=usable.get(name, 0.1 if name == "dr_grade>=2" else 0.4),
                    unusable=None if name in usable else "test",
                )
                for name in HEAD_NAMES
            }
        )

    return make


def _logits(**p: float) -> FloatArray:
    row = np.zeros((1, NUM_VALUES), np.float32)
    for name, value in p.items():
        row[0, HEADS[name].start] = logit(value)
    return row


def test_a_missing_lower_head_is_completed_from_above(calibration_of: Callable[..., Calibration]) -> None:
    calibration = calibration_of({"dr_grade>=2": 0.1})
    z = np.zeros((1, NUM_VALUES), np.float32)
    z[0, 1] = logit(0.3)
    p_BV = calibration.probabilities(z)
    # Base rates 0.4 and 0.1: a third of the images below grade 2 has grade 1.
    assert p_BV[0, 0] == pytest.approx(1 - (1 - 0.3) * (1 - 0.4) / (1 - 0.1))
    assert p_BV[0, 1] == pytest.approx(0.3)


def test_a_missing_head_in_between_stays_in_order(calibration_of: Callable[..., Calibration]) -> None:
    """P(grade >= 2) is 0.1 / 0.4 of the lower head's probability, but never less than the higher head's."""
    calibration = calibration_of({"dr_grade>=1": 0.4, "dr_grade>=3": 0.05})
    z = np.zeros((2, NUM_VALUES), np.float32)
    z[:, 0], z[:, 2] = logit(0.8), logit([0.1, 0.6])
    p_BV = calibration.probabilities(z)
    np.testing.assert_allclose(p_BV[:, :3], [[0.8, 0.2, 0.1], [0.8, 0.6, 0.6]], rtol=1e-5)


def test_an_image_that_is_no_fundus_has_neither_disease_nor_side(calibration_of: Callable[..., Calibration]) -> None:
    calibration = calibration_of(dict.fromkeys(("eye_side", "is_gc", "is_fundus", "is_macular_readable"), 0.5))
    (row,) = _annotate(calibration, _logits(eye_side=0.9, is_gc=0.9, is_fundus=0.1, is_macular_readable=0.9))[1]
    assert row["is_fundus"] == 0
    assert row["is_gc"] is None
    assert row["eye_side"] is None
    assert row["is_macular_readable"] == 0
    assert row["is_optic_disc_readable"] is None  # an unusable label stays null, although the rule sets 0
    (row,) = _annotate(calibration, _logits(eye_side=0.9, is_gc=0.4, is_fundus=0.8, is_macular_readable=0.9))[1]
    assert (row["is_fundus"], row["is_gc"], row["eye_side"], row["is_macular_readable"]) == (1, 0, 1, 1)


def test_a_row_without_logits_annotates_null(calibration_of: Callable[..., Calibration]) -> None:
    calibration = calibration_of(dict.fromkeys(HEAD_NAMES, 0.5))
    missing: NDArray[np.float32] = np.full((1, NUM_VALUES), np.nan, np.float32)
    p_BV, rows = _annotate(calibration, missing)
    assert np.isnan(p_BV).all()
    assert set(rows[0].values()) == {None}


def test_a_calibration_read_from_json_equals_the_written_one(validation: Validation) -> None:
    predictions, counts = validation
    calibration = fit_calibration(predictions, counts)
    again = Calibration.from_json(calibration.to_json(), "calibration.json")
    assert again == calibration
    np.testing.assert_array_equal(
        again.probabilities(predictions.logit_BV), calibration.probabilities(predictions.logit_BV)
    )
