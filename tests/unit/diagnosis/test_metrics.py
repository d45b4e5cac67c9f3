"""What is measured on real images agrees with scikit-learn, and is said to be not measurable where it is not."""

import json

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score, cohen_kappa_score, f1_score, recall_score, roc_auc_score

from synfundus.diagnosis.calibration import Predictions, fit_calibration
from synfundus.diagnosis.metrics import measure_parts
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


def test_measures_agree_with_scikit_learn() -> None:
    validation, test = _predictions(0), _predictions(1)
    calibration = fit_calibration(validation, None)
    metrics = measure_parts({"validation": validation, "test": test}, calibration)
    head = calibration.heads["eye_side"]
    y, z = test.p_BV[:80, SIDE].astype(int), test.logit_BV[:80, SIDE].astype(float)
    p = expit(head.scale * z + head.offset)
    side = metrics["parts"]["test"]["eye_side"]
    assert (side["num_images"], side["num_patients"], side["num_positive"]) == (80, 40, int(y.sum()))
    for name, expected in {
        "auc": roc_auc_score(y, z),
        "average_precision": average_precision_score(y, z),
        "sensitivity": recall_score(y, p >= head.threshold),
        "specificity": recall_score(1 - y, p < head.threshold),
        "f1": f1_score(y, p >= head.threshold),
    }.items():
        assert side[name]["value"] == pytest.approx(expected, rel=1e-9)
        assert side[name]["low"] <= expected <= side[name]["high"]
    grades = [row["dr_grade"] for row in calibration.annotate(test.logit_BV[:80])[1]]
    truth = test.p_BV[:80, :4].sum(axis=1).astype(int)
    kappa = metrics["parts"]["test"]["dr_grade"]["quadratic_kappa"]
    assert kappa["value"] == pytest.approx(cohen_kappa_score(truth, grades, weights="quadratic"), rel=1e-9)
    assert list(metrics["parts"]["test"]["dr_grade"]["heads"]) == list(HEAD_NAMES[:4])


def test_labels_without_both_classes_are_not_measurable() -> None:
    predictions = _predictions(0)
    metrics = measure_parts({"test": predictions}, fit_calibration(predictions, None))
    for name in LABEL_NAMES[2:]:
        entry = metrics["parts"]["test"][name]
        for measure in ("auc", "average_precision", "sensitivity", "specificity", "f1", "ece"):
            assert entry[measure]["status"] == "not measurable"
            assert "value" not in entry[measure]


def test_an_unusable_label_shows_its_ranking_but_no_decisions() -> None:
    validation = _predictions(0)
    validation.logit_BV[:, :5] = np.random.default_rng(3).normal(size=(160, 5))
    calibration = fit_calibration(validation, None)
    part = measure_parts({"validation": validation}, calibration)["parts"]["validation"]
    assert part["eye_side"]["auc"]["status"] == "measured"
    assert part["eye_side"]["f1"]["reason"].startswith("unusable: AUC")
    assert part["dr_grade"]["quadratic_kappa"]["status"] == "not measurable"


def test_an_empty_part_is_not_measurable_throughout_and_json() -> None:
    validation = _predictions(0)
    empty = Predictions(validation.logit_BV[:0], validation.p_BV[:0], validation.expert_BK[:0], [])
    metrics = measure_parts({"validation": validation, "test": empty}, fit_calibration(validation, None))
    assert metrics["parts"]["test"]["eye_side"]["auc"]["status"] == "not measurable"
    assert metrics["parts"]["test"]["dr_grade"]["quadratic_kappa"]["status"] == "not measurable"
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
