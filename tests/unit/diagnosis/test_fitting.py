"""Platt scaling and unusable heads, against references and closed forms."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from synfundus.diagnosis.counts import LabelCounts
from synfundus.diagnosis.fitting import fit_calibration, fit_platt
from synfundus.diagnosis.held_out import Predictions
from synfundus.labels import HEADS

SIDE = HEADS["eye_side"].start
Validation = tuple[Predictions, LabelCounts]


def test_platt_scaling_equals_logistic_regression_on_smoothed_targets() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=400) * 3
    y = (rng.uniform(size=400) < expit(0.7 * z - 1.2)).astype(np.int64)
    n1, n0 = int(y.sum()), int((1 - y).sum())
    target = np.where(y == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    # A soft target t is a positive of weight t beside a negative of weight 1 - t.
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(
        np.r_[z, z][:, None], np.r_[np.ones(400), np.zeros(400)], sample_weight=np.r_[target, 1 - target]
    )
    scale, offset = fit_platt(y, z)
    assert scale == pytest.approx(reference.coef_[0, 0], rel=1e-3)
    assert offset == pytest.approx(reference.intercept_[0], rel=1e-3)
    assert scale == pytest.approx(0.7, abs=0.15)  # and near the value that generated the data


def test_with_few_images_of_a_class_only_the_offset_is_fitted() -> None:
    z = np.linspace(-2, 2, 50)
    y = (np.arange(50) >= 44).astype(np.int64)
    scale, offset = fit_platt(y, z)
    assert scale == 1.0
    # The score equation of the offset: the fitted probabilities have the mean of Platt's targets.
    assert expit(z + offset).mean() == pytest.approx((6 * 7 / 8 + 44 / 46) / 50, abs=1e-5)


def test_separable_data_give_finite_scale_and_offset() -> None:
    z = np.r_[np.linspace(-3, -1, 30), np.linspace(1, 3, 30)]
    scale, offset = fit_platt(np.repeat([0, 1], 30), z)
    assert 0 < scale < 10
    assert abs(offset) < 1
    assert expit(3 * scale + offset) < 1.0


def test_a_head_without_evidence_is_unusable_with_its_reason(validation: Validation) -> None:
    predictions, counts = validation
    calibration = fit_calibration(predictions, counts)
    unusable = calibration.unusable
    assert "eye_side" not in unusable
    assert unusable["is_fundus"] == "training needs both classes, has 120 positive and 0 negative"
    assert unusable["is_pm"] == "training needs both classes, has 0 positive and 0 negative"
    assert unusable["is_gc"].startswith("AUC 0.")
    assert unusable["is_gc"].endswith("chance")
    # Grade 4 is missing, but the three other heads are usable, so the label is.
    assert "dr_grade" not in unusable
    assert calibration.heads["dr_grade>=4"].unusable is not None


def test_both_classes_are_needed_on_validation_too(validation: Validation) -> None:
    predictions, counts = validation
    one_side = Predictions(
        predictions.logit_BV[::2], predictions.p_BV[::2], predictions.expert_BK[::2], predictions.patients[::2]
    )
    assert "validation: needs both classes" in fit_calibration(one_side, counts).unusable["eye_side"]


def test_a_head_without_output_is_unusable(validation: Validation) -> None:
    predictions, _ = validation
    predictions.logit_BV[:, SIDE] = np.nan
    assert fit_calibration(predictions, None).unusable["eye_side"] == "the annotator has no such output"


def test_a_head_worse_than_chance_is_unusable(validation: Validation) -> None:
    predictions, counts = validation
    predictions.logit_BV[:, SIDE] *= -1
    assert "eye_side" in fit_calibration(predictions, counts).unusable
