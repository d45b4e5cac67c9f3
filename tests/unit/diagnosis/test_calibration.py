"""Platt's scaling, thresholds, usability and annotation, against references and closed forms."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve

from synfundus.diagnosis.calibration import (
    Calibration,
    HeadCalibration,
    Predictions,
    fit_calibration,
    fit_platt,
    youden_threshold,
)
from synfundus.diagnosis.counts import LabelCounts
from synfundus.labels import HEAD_NAMES, HEADS, LABEL_NAMES, NUM_LABELS, NUM_VALUES, FloatArray

GC, SIDE, FUNDUS = (HEADS[name].start for name in ("is_gc", "eye_side", "is_fundus"))


def test_platt_equals_logistic_regression_on_his_targets() -> None:
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
    assert scale == pytest.approx(0.7, abs=0.15)  # and near to what made the data


def test_few_images_of_a_class_fit_the_offset_alone() -> None:
    z = np.linspace(-2, 2, 50)
    y = (np.arange(50) >= 44).astype(np.int64)
    scale, offset = fit_platt(y, z)
    assert scale == 1.0
    # The fitted probabilities have the mean of Platt's targets: the score equation of the offset.
    assert expit(z + offset).mean() == pytest.approx((6 * 7 / 8 + 44 / 46) / 50, abs=1e-5)


def test_separable_data_stay_finite() -> None:
    z = np.r_[np.linspace(-3, -1, 30), np.linspace(1, 3, 30)]
    scale, offset = fit_platt(np.repeat([0, 1], 30), z)
    assert 0 < scale < 10
    assert abs(offset) < 1
    assert expit(3 * scale + offset) < 1.0


def test_youden_threshold_is_the_best_point_of_the_roc_curve() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 200)
    p = expit(rng.normal(size=200) + y)
    threshold = youden_threshold(y, p)
    ours = (p[y == 1] >= threshold).mean() + (p[y == 0] < threshold).mean() - 1
    fpr, tpr, _ = roc_curve(y, p)
    assert ours == pytest.approx((tpr - fpr).max())


def test_of_equal_thresholds_the_one_nearest_to_a_half_is_taken() -> None:
    assert youden_threshold(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])) == 0.5
    # 0.15 and 0.85 are equally good: each splits off one of four images rightly.
    assert youden_threshold(np.array([0, 1, 0, 1]), np.array([0.1, 0.3, 0.7, 0.95])) == pytest.approx(0.2)


def _validation(n: int = 120) -> tuple[Predictions, LabelCounts]:
    """Side is told perfectly, glaucoma by chance, the picture is always a fundus; DR rises with the logits."""
    rng = np.random.default_rng(2)
    p_BV, expert_BK = np.zeros((n, NUM_VALUES), np.float32), np.zeros((n, NUM_LABELS), np.bool_)
    logit_BV = rng.normal(size=(n, NUM_VALUES)).astype(np.float32)
    for name in ("dr_grade", "eye_side", "is_gc", "is_fundus"):
        expert_BK[:, LABEL_NAMES.index(name)] = True
    p_BV[:, SIDE] = np.arange(n) % 2
    logit_BV[:, SIDE] += 20 * p_BV[:, SIDE] - 10
    p_BV[:, GC] = np.arange(n) // 2 % 2
    p_BV[:, FUNDUS] = 1
    grade = np.arange(n) // 4 % 4  # no grade 4
    for k in range(4):
        p_BV[:, k] = grade > k
        logit_BV[:, k] = 2 * grade - 2 * k - 1 + rng.normal(size=n)
    counts = LabelCounts(expert_BK, p_BV.sum(axis=0).astype(np.int64))
    return Predictions(logit_BV, p_BV, expert_BK, [f"patient {i // 2}" for i in range(n)]), counts


def test_what_cannot_be_told_is_unusable_with_its_reason() -> None:
    predictions, counts = _validation()
    calibration = fit_calibration(predictions, counts)
    unusable = calibration.unusable
    assert "eye_side" not in unusable
    assert unusable["is_fundus"] == "training needs both classes, has 120 positive and 0 negative"
    assert unusable["is_pm"] == "training needs both classes, has 0 positive and 0 negative"
    assert unusable["is_gc"].startswith("AUC 0.")
    assert unusable["is_gc"].endswith("chance")
    # Grade 4 is missing, the three other heads tell: the label is usable.
    assert "dr_grade" not in unusable
    assert calibration.heads["dr_grade>=4"].unusable is not None


def test_both_classes_are_needed_on_validation_too() -> None:
    predictions, counts = _validation()
    one_side = Predictions(
        predictions.logit_BV[::2], predictions.p_BV[::2], predictions.expert_BK[::2], predictions.patients[::2]
    )
    assert "validation: needs both classes" in fit_calibration(one_side, counts).unusable["eye_side"]


def test_an_output_that_does_not_exist_is_unusable() -> None:
    predictions, _ = _validation()
    predictions.logit_BV[:, SIDE] = np.nan
    assert fit_calibration(predictions, None).unusable["eye_side"] == "the annotator has no such output"


def test_a_head_worse_than_chance_is_unusable() -> None:
    predictions, counts = _validation()
    predictions.logit_BV[:, SIDE] *= -1
    assert "eye_side" in fit_calibration(predictions, counts).unusable


def test_unusable_labels_annotate_null_and_have_no_probability() -> None:
    predictions, counts = _validation()
    p_BV, rows = fit_calibration(predictions, counts).annotate(predictions.logit_BV)
    assert all(row["is_gc"] is None and row["is_fundus"] is None and row["is_pm"] is None for row in rows)
    assert np.isnan(p_BV[:, [GC, FUNDUS]]).all()
    assert [row["eye_side"] for row in rows] == predictions.p_BV[:, SIDE].astype(int).tolist()
    assert all(row.keys() == set(LABEL_NAMES) for row in rows)


def test_grades_fall_with_k_and_the_missing_head_takes_its_share() -> None:
    predictions, counts = _validation()
    counts.positive_V[3] = 7  # a quarter of the 28 with grade >= 3 has grade 4 in training; none in validation
    calibration = fit_calibration(predictions, counts)
    p_BV, rows = calibration.annotate(predictions.logit_BV)
    assert (np.diff(p_BV[:, :4], axis=1) <= 0).all()
    np.testing.assert_allclose(p_BV[:, 3], p_BV[:, 2] * 7 / 28, rtol=1e-5)
    assert [row["dr_grade"] for row in rows] == np.floor(p_BV[:, :4].sum(axis=1) + 0.5).astype(int).tolist()
    grade = predictions.p_BV[:, :4].sum(axis=1)
    assert np.mean(grade == [row["dr_grade"] for row in rows]) > 0.7


@pytest.fixture
def calibration_of() -> Callable[..., Calibration]:
    """A calibration in which the named heads are usable as they are, with thresholds at a half."""

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
    # Base rates 0.4 and 0.1: of those below grade 2 a third has grade 1.
    assert p_BV[0, 0] == pytest.approx(1 - (1 - 0.3) * (1 - 0.4) / (1 - 0.1))
    assert p_BV[0, 1] == pytest.approx(0.3)


def test_a_missing_head_in_between_stays_in_order(calibration_of: Callable[..., Calibration]) -> None:
    """Its share of the lower head, 0.1 / 0.4 of it, but never less than the higher head."""
    calibration = calibration_of({"dr_grade>=1": 0.4, "dr_grade>=3": 0.05})
    z = np.zeros((2, NUM_VALUES), np.float32)
    z[:, 0], z[:, 2] = logit(0.8), logit([0.1, 0.6])
    p_BV = calibration.probabilities(z)
    np.testing.assert_allclose(p_BV[:, :3], [[0.8, 0.2, 0.1], [0.8, 0.6, 0.6]], rtol=1e-5)


def test_what_is_no_fundus_has_neither_disease_nor_side(calibration_of: Callable[..., Calibration]) -> None:
    calibration = calibration_of(dict.fromkeys(("eye_side", "is_gc", "is_fundus", "is_macular_readable"), 0.5))
    (row,) = calibration.annotate(_logits(eye_side=0.9, is_gc=0.9, is_fundus=0.1, is_macular_readable=0.9))[1]
    assert row["is_fundus"] == 0
    assert row["is_gc"] is None
    assert row["eye_side"] is None
    assert row["is_macular_readable"] == 0
    assert row["is_optic_disc_readable"] is None  # unusable stays null, whatever the rules would say
    (row,) = calibration.annotate(_logits(eye_side=0.9, is_gc=0.4, is_fundus=0.8, is_macular_readable=0.9))[1]
    assert (row["is_fundus"], row["is_gc"], row["eye_side"], row["is_macular_readable"]) == (1, 0, 1, 1)


def test_a_row_without_logits_annotates_null(calibration_of: Callable[..., Calibration]) -> None:
    calibration = calibration_of(dict.fromkeys(HEAD_NAMES, 0.5))
    missing: NDArray[np.float32] = np.full((1, NUM_VALUES), np.nan, np.float32)
    p_BV, rows = calibration.annotate(missing)
    assert np.isnan(p_BV).all()
    assert set(rows[0].values()) == {None}


def test_calibration_survives_json() -> None:
    predictions, counts = _validation()
    calibration = fit_calibration(predictions, counts)
    again = Calibration.model_validate_json(calibration.model_dump_json())
    assert again == calibration
    np.testing.assert_array_equal(
        again.probabilities(predictions.logit_BV), calibration.probabilities(predictions.logit_BV)
    )
