"""Measures on real images agree with scikit-learn, and are not measurable if a class is missing."""

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import (
    average_precision_score,
    cohen_kappa_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from synfundus.diagnosis.assessment import assess
from synfundus.diagnosis.config import OperatingPointConfig
from synfundus.diagnosis.decisions import measure_decisions
from synfundus.diagnosis.held_out import Predictions, decode_held_out, encode_held_out
from synfundus.diagnosis.metrics import AnnotatorMetrics, AnnotatorScores
from synfundus.diagnosis.operating_fit import fit_operating_points
from synfundus.diagnosis.operating_points import OperatingPoint
from synfundus.labels import HEAD_NAMES, HEADS, LABEL_NAMES, NUM_LABELS, NUM_VALUES

SIDE = HEADS["eye_side"].start


def _predictions(seed: int, n: int = 160) -> Predictions:
    rng = np.random.default_rng(seed)
    p_BV, expert_BK = np.zeros((n, NUM_VALUES), np.float32), np.zeros((n, NUM_LABELS), np.bool_)
    expert_BK[: n // 2, :2] = True  # DR and side of half of the images; nothing else is known
    grade, side = rng.integers(0, 5, n), rng.integers(0, 2, n)
    p_BV[:, :4] = grade[:, None] > np.arange(4)
    p_BV[:, SIDE] = side
    p_BV[n // 2 :] = 0
    logit_BV = rng.normal(size=(n, NUM_VALUES)).astype(np.float32)
    logit_BV[:, :4] += 1.5 * (grade[:, None] - np.arange(4)) - 0.75
    logit_BV[:, SIDE] += 2 * side - 1
    return Predictions(logit_BV, p_BV, expert_BK, [f"patient {i // 2}" for i in range(n)])


def _measure(validation: Predictions, test: Predictions, **rules: OperatingPointConfig) -> AnnotatorMetrics:
    """Return the metrics at the operating points of `rules`, as they are after storage."""
    assessed = assess({"validation": validation, "test": test}, None)
    points = fit_operating_points(rules, assessed.calibration, validation)
    splits = decode_held_out(encode_held_out(assessed.splits))
    scores = AnnotatorScores.from_json(assessed.scores.to_json(), "metrics.json")
    return measure_decisions(scores, splits, assessed.calibration, points)


def _weights(y: NDArray[np.int64], points: Mapping[str, OperatingPoint]) -> NDArray[np.float64]:
    """Return weights that give the images the prevalence that the side's operating point assumes."""
    prevalence = points["eye_side"].prevalence
    return np.asarray(np.where(y == 1, prevalence / y.mean(), (1 - prevalence) / (1 - y.mean())))


def test_measures_agree_with_scikit_learn() -> None:
    validation, test = _predictions(0), _predictions(1)
    metrics = _measure(validation, test)
    calibration = assess({"validation": validation}, None).calibration
    points = fit_operating_points({}, calibration, validation)
    threshold = metrics.operating_points["eye_side"].threshold
    assert threshold is not None
    head = calibration.heads["eye_side"]
    y, z = test.p_BV[:80, SIDE].astype(int), test.logit_BV[:80, SIDE].astype(float)
    p = expit(head.scale * z + head.offset)
    side = metrics.splits["test"].heads["eye_side"]
    assert (side.num_images, side.num_patients, side.num_positive) == (80, 40, int(y.sum()))
    for measure, expected in (
        (side.auc, roc_auc_score(y, z)),
        (side.average_precision, average_precision_score(y, z)),
        (side.sensitivity, recall_score(y, p >= threshold)),
        (side.specificity, recall_score(1 - y, p < threshold)),
        (side.f1, f1_score(y, p >= threshold)),
        (side.ppv, precision_score(y, p >= threshold, sample_weight=_weights(y, metrics.operating_points))),
    ):
        value, low, high = measure.interval
        assert value == pytest.approx(expected, rel=1e-9)
        assert low <= expected <= high
    grades = [row["dr_grade"] for row in points.annotate(calibration.probabilities(test.logit_BV[:80]))]
    truth = test.p_BV[:80, :4].sum(axis=1).astype(int)
    kappa = metrics.splits["test"].quadratic_kappa
    assert kappa.value == pytest.approx(cohen_kappa_score(truth, grades, weights="quadratic"), rel=1e-9)
    assert list(metrics.splits["test"].heads) == list(HEAD_NAMES)


def test_labels_without_both_classes_are_not_measurable() -> None:
    predictions = _predictions(0)
    metrics = _measure(predictions, predictions)
    for name in LABEL_NAMES[2:]:
        head = metrics.splits["test"].heads[name]
        for measure in (
            head.auc,
            head.average_precision,
            head.sensitivity,
            head.specificity,
            head.ppv,
            head.f1,
            head.ece,
        ):
            assert not measure.measurable
            assert measure.value is None


def test_an_unusable_label_has_auc_but_no_measure_of_decisions() -> None:
    validation = _predictions(0)
    validation.logit_BV[:, :5] = np.random.default_rng(3).normal(size=(160, 5))
    split = _measure(validation, validation).splits["validation"]
    assert split.heads["eye_side"].auc.measurable
    assert str(split.heads["eye_side"].f1.reason).startswith("unusable: AUC")
    assert not split.quadratic_kappa.measurable


def test_an_empty_split_is_not_measurable_and_json_keeps_it() -> None:
    validation = _predictions(0)
    empty = Predictions(validation.logit_BV[:0], validation.p_BV[:0], validation.expert_BK[:0], [])
    metrics = _measure(validation, empty)
    assert not metrics.splits["test"].heads["eye_side"].auc.measurable
    assert not metrics.splits["test"].quadratic_kappa.measurable
    assert AnnotatorMetrics.from_json(metrics.to_json(), "metrics.json") == metrics


def test_an_image_that_is_annotated_null_is_in_no_measure_of_decisions() -> None:
    """A table of predictions may lack one of the columns of a grade."""
    validation, test = _predictions(0), _predictions(1)
    whole = _measure(validation, test)
    kept = Predictions(test.logit_BV[20:], test.p_BV[20:], test.expert_BK[20:], test.patients[20:])
    without = _measure(validation, kept)
    test.logit_BV[:20, 1] = np.nan
    found = _measure(validation, test)
    for name in ("sensitivity", "specificity", "ppv", "f1"):
        measures = [getattr(one.splits["test"].heads["dr_grade>=1"], name) for one in (found, without, whole)]
        assert measures[0] == measures[1] != measures[2]


def test_a_rule_that_is_not_met_is_not_called_unusable() -> None:
    validation = _predictions(0)
    strict = OperatingPointConfig(rule="minimum-ppv", minimum=0.999, prevalence=(0.96, 0.01, 0.01, 0.01, 0.01))
    metrics = _measure(validation, validation, dr_grade=strict)
    assert metrics.unmet.keys() == {"dr_grade"}
    assert str(metrics.splits["test"].quadratic_kappa.reason).startswith("no threshold has a PPV of 0.999")
