"""Measure the annotator on real images with experts' labels, per split and head."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from synfundus.diagnosis.annotator import Scorer
from synfundus.diagnosis.calibration import Calibration, HeadCalibration
from synfundus.diagnosis.fitting import Predictions
from synfundus.diagnosis.metrics import AnnotatorMetrics, HeadMetrics, SplitMetrics
from synfundus.fundus.dataset import PreparedImages
from synfundus.labels import HEAD_NAMES, HEADS, NUM_LABELS, NUM_VALUES
from synfundus.measures.measure import Measure
from synfundus.measures.roc import auc
from synfundus.measures.statistics import average_precision, ece, f1, quadratic_kappa, sensitivity, specificity


def predict_split(scorer: Scorer, images: PreparedImages, split: str) -> Predictions:
    """Return raw logits and experts' labels of a whole split, read in batches."""
    logits, p, expert, patients = (
        [np.zeros((0, NUM_VALUES), np.float32)],
        [np.zeros((0, NUM_VALUES), np.float32)],
        [np.zeros((0, NUM_LABELS), np.bool_)],
        list[str](),
    )
    for batch in images.batches(split):
        logits.append(scorer.logits(batch.images_BHWC, batch.image_ids))
        p.append(batch.p_BV)
        expert.append(batch.expert_BK)
        patients.extend(batch.patients)
    return Predictions(np.concatenate(logits), np.concatenate(p), np.concatenate(expert), patients)


def measure_head(predictions: Predictions, calibration: Calibration, v: int) -> HeadMetrics:
    """Return the measures of head `v`; those that need a threshold are not measurable for an unusable head."""
    y, logit, groups = predictions.head(v)
    return HeadMetrics(
        num_images=len(y),
        num_patients=len(np.unique(groups)),
        num_positive=int(y.sum()),
        auc=auc(y, logit, groups),
        average_precision=average_precision(y, logit, groups),
        **_measure_decisions(calibration.heads[HEAD_NAMES[v]], y, logit, groups),
    )


def _measure_decisions(
    head: HeadCalibration, y: NDArray[np.int64], logit: NDArray[np.float64], groups: NDArray[np.str_]
) -> dict[str, Measure]:
    """Return the measures that depend on calibration and threshold."""
    if head.unusable is not None:
        unusable = Measure.not_measurable(f"unusable: {head.unusable}", len(y))
        return dict.fromkeys(("sensitivity", "specificity", "f1", "ece"), unusable)
    p = expit(head.scale * logit + head.offset)
    prediction = p >= head.threshold
    return {
        "sensitivity": sensitivity(y, prediction, groups),
        "specificity": specificity(y, prediction, groups),
        "f1": f1(y, prediction, groups),
        "ece": ece(y, p, groups=groups),
    }


def measure_grades(predictions: Predictions, calibration: Calibration) -> Measure:
    """Return quadratic kappa of the annotated DR grades."""
    rows = np.flatnonzero(predictions.expert_BK[:, 0])
    if "dr_grade" in calibration.unusable:
        return Measure.not_measurable(f"unusable: {calibration.unusable['dr_grade']}", len(rows))
    # The grade itself, without the rule for images that are not a fundus: an expert has graded these images.
    p_BV = calibration.probabilities(predictions.logit_BV[rows])
    predicted = np.isfinite(p_BV[:, 0])
    grade = predictions.p_BV[rows][predicted][:, HEADS["dr_grade"]].sum(axis=1).round().astype(np.int64)
    return quadratic_kappa(
        grade, calibration.grades(p_BV[predicted]), groups=np.asarray(predictions.patients, np.str_)[rows][predicted]
    )


def measure_split(predictions: Predictions, calibration: Calibration) -> SplitMetrics:
    """Return the measures of one split."""
    return SplitMetrics(
        heads={name: measure_head(predictions, calibration, v) for v, name in enumerate(HEAD_NAMES)},
        quadratic_kappa=measure_grades(predictions, calibration),
    )


def measure_splits(
    splits: Mapping[str, Predictions], calibration: Calibration, fresh_tensors: tuple[str, ...] | None = None
) -> AnnotatorMetrics:
    """Return the content of `metrics.json`.

    Args:
        splits: predictions by split.
        fresh_tensors: tensors that did not start from `init_from`; None without `init_from`.
    """
    return AnnotatorMetrics(
        unusable=calibration.unusable,
        unusable_heads={name: head.unusable for name, head in calibration.heads.items() if head.unusable},
        splits={split: measure_split(predictions, calibration) for split, predictions in splits.items()},
        fresh_tensors=fresh_tensors,
    )
