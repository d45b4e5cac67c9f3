"""Consistency: values equal scikit-learn's, permuted requests give chance, unusable labels have no number."""

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from synfundus.evaluation.consistency import NO_ANNOTATION, UNUSABLE_LABEL, measure_consistency
from synfundus.labels import LABEL_NAMES
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import LabelConsistency

N = 400
SIDE, DR, EM, GC = (LABEL_NAMES.index(name) for name in ("eye_side", "dr_grade", "is_em", "is_gc"))


def _measured() -> tuple[Mapping[str, LabelConsistency], NDArray[np.int8], NDArray[np.int8], NDArray[np.float32]]:
    """Return consistency, requests, predictions and scores.

    The side follows the request, grades mostly do, glaucoma does not; the membrane is unusable.
    """
    rng = np.random.default_rng(0)
    requested = rng.integers(0, 2, (N, len(LABEL_NAMES))).astype(np.int8)
    requested[:, DR] = rng.integers(0, 5, N)
    requested[:50, GC] = -1
    predicted, score = requested.copy(), rng.random((N, len(LABEL_NAMES))).astype(np.float32)
    wrong = rng.random(N) < 0.1
    predicted[wrong, DR] = rng.integers(0, 5, int(wrong.sum()))
    score[:, SIDE] = np.clip(requested[:, SIDE] * 0.6 + rng.random(N) * 0.4, 0, 1)
    predicted[:, EM], score[:, EM] = -1, np.nan
    consistency = measure_consistency(requested, predicted, score, {"is_em": "AUC 0.5"}, seed=0)
    return consistency.labels, requested, predicted, score


def test_values_equal_scikit_learn_on_the_rows_with_a_request() -> None:
    labels, requested, predicted, score = _measured()
    known = requested[:, GC] >= 0
    glaucoma, grade = labels["is_gc"], labels["dr_grade"]
    assert glaucoma.requested.value == pytest.approx(roc_auc_score(requested[known, GC], score[known, GC]), rel=1e-9)
    assert glaucoma.requested.n == N - 50
    kappa = cohen_kappa_score(requested[:, DR], predicted[:, DR], weights="quadratic")
    assert grade.requested.value == pytest.approx(kappa, rel=1e-9)
    assert grade.agreement.value == pytest.approx(np.mean(requested[:, DR] == predicted[:, DR]))
    assert np.trace(grade.confusion) == np.sum(requested[:, DR] == predicted[:, DR])


def test_a_label_without_an_operating_point_has_an_auc_and_no_agreement() -> None:
    """It has a probability, but no threshold meets its rule, so every annotation is unknown."""
    rng = np.random.default_rng(0)
    requested = np.full((N, len(LABEL_NAMES)), -1, np.int8)
    requested[:, GC] = rng.integers(0, 2, N)
    score = rng.random(requested.shape).astype(np.float32)
    entry = measure_consistency(requested, np.full_like(requested, -1), score, {}, seed=0).labels["is_gc"]
    assert entry.requested.value == pytest.approx(roc_auc_score(requested[:, GC], score[:, GC]))
    assert entry.agreement == entry.agreement_permuted == Measure.not_measurable(NO_ANNOTATION, N)


def test_labels_that_follow_the_request_beat_permuted_requests_and_others_do_not() -> None:
    labels = _measured()[0]
    assert labels["eye_side"].beats_permuted is True
    assert labels["dr_grade"].beats_permuted is True
    assert labels["is_gc"].beats_permuted is False
    chance = [e.permuted.interval for e in labels.values() if e.beats_permuted is not None and e.statistic == "auc"]
    holds = [low < 0.5 < high for _, low, high in chance]
    assert len(holds) == 14
    assert sum(holds) >= 12  # each interval misses chance once in twenty times


def test_an_unusable_label_has_no_number() -> None:
    entry = _measured()[0]["is_em"]
    for measure in (entry.requested, entry.permuted, entry.agreement, entry.agreement_permuted):
        assert measure == Measure.not_measurable(UNUSABLE_LABEL, N)
    assert entry.beats_permuted is None
    assert entry.roc is None


def test_a_label_requested_with_one_value_only_has_no_auc() -> None:
    requested = np.zeros((60, len(LABEL_NAMES)), np.int8)
    score = np.full(requested.shape, 0.1, np.float32)
    entry = measure_consistency(requested, requested, score, {}, seed=0).labels["is_gc"]
    assert entry.requested.reason is not None
    assert "needs both classes" in entry.requested.reason


def test_a_missing_prediction_does_not_agree() -> None:
    """An image that is not a fundus has no side. Leaving such samples out would flatter the generator."""
    requested = np.zeros((100, len(LABEL_NAMES)), np.int8)
    requested[:50, SIDE] = 1
    predicted = requested.copy()
    predicted[:10, SIDE] = -1
    score = np.where(requested > 0, 0.9, 0.1).astype(np.float32)
    side = measure_consistency(requested, predicted, score, {}, seed=0).labels["eye_side"]
    assert side.agreement.value == pytest.approx(0.9)
