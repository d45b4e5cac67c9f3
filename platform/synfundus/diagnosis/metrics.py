"""How good the annotator is on real images with experts' labels: each measure with its interval and n, per label."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import expit

from synfundus.diagnosis.annotator import Scorer
from synfundus.diagnosis.calibration import Calibration, Predictions
from synfundus.fundus.dataset import PreparedImages
from synfundus.labels import HEAD_NAMES, HEADS, LABEL_NAMES, NUM_LABELS, NUM_VALUES
from synfundus.measures.statistics import (
    Measure,
    auc,
    average_precision,
    ece,
    f1,
    quadratic_kappa,
    sensitivity,
    specificity,
)

READ_BATCH = 256


def predict_split(scorer: Scorer, images: PreparedImages, split: str) -> Predictions:
    """Raw logits and experts' labels of a whole part, read in batches."""
    logits, p, expert, patients = (
        [np.zeros((0, NUM_VALUES), np.float32)],
        [np.zeros((0, NUM_VALUES), np.float32)],
        [np.zeros((0, NUM_LABELS), np.bool_)],
        list[str](),
    )
    for batch in images.batches(split, READ_BATCH):
        logits.append(scorer.logits(batch.images_BHWC, batch.image_ids))
        p.append(batch.p_BV)
        expert.append(batch.expert_BK)
        patients.extend(batch.patients)
    return Predictions(np.concatenate(logits), np.concatenate(p), np.concatenate(expert), patients)


def measure_head(predictions: Predictions, calibration: Calibration, v: int) -> dict[str, Any]:
    """The measures of head `v`. An unusable head shows how it ranks, but annotates nothing that could be counted."""
    head = calibration.heads[HEAD_NAMES[v]]
    y, logit, groups = predictions.head(v)
    ranking = {"auc": auc(y, logit, groups), "average_precision": average_precision(y, logit, groups)}
    if head.unusable is not None:
        none = Measure.not_measurable(f"unusable: {head.unusable}", len(y))
        decided = dict.fromkeys(("sensitivity", "specificity", "f1", "ece"), none)
    else:
        p = expit(head.scale * logit + head.offset)
        prediction = p >= head.threshold
        decided = {
            "sensitivity": sensitivity(y, prediction, groups),
            "specificity": specificity(y, prediction, groups),
            "f1": f1(y, prediction, groups),
            "ece": ece(y, p, groups=groups),
        }
    return {
        "num_images": len(y),
        "num_patients": len(np.unique(groups)),
        "num_positive": int(y.sum()),
        **{name: measure.to_dict() for name, measure in (ranking | decided).items()},
    }


def measure_grades(predictions: Predictions, calibration: Calibration) -> Measure:
    """Quadratic kappa of the annotated DR grades."""
    rows = np.flatnonzero(predictions.expert_BK[:, 0])
    if "dr_grade" in calibration.unusable:
        return Measure.not_measurable(f"unusable: {calibration.unusable['dr_grade']}", len(rows))
    # The grade itself, before the rule on what is not a fundus: an expert has graded these images.
    p_BV = calibration.probabilities(predictions.logit_BV[rows])
    told = np.isfinite(p_BV[:, 0])
    grade = predictions.p_BV[rows][told][:, HEADS["dr_grade"]].sum(axis=1).round().astype(np.int64)
    return quadratic_kappa(
        grade, calibration.grades(p_BV[told]), groups=np.asarray(predictions.patients, np.str_)[rows][told]
    )


def measure_part(predictions: Predictions, calibration: Calibration) -> dict[str, Any]:
    """All labels of one part; `dr_grade` holds one entry per cumulative head, and kappa."""
    labels: dict[str, Any] = {}
    for name in LABEL_NAMES:
        heads = {HEAD_NAMES[v]: measure_head(predictions, calibration, v) for v in range(NUM_VALUES)[HEADS[name]]}
        labels[name] = heads.get(name, {"heads": heads})
    labels["dr_grade"]["quadratic_kappa"] = measure_grades(predictions, calibration).to_dict()
    return labels


def measure_parts(parts: Mapping[str, Predictions], calibration: Calibration) -> dict[str, Any]:
    """What `metrics.json` holds: the labels that cannot be told, and every measure per part and label."""
    return {
        "unusable": calibration.unusable,
        "unusable_heads": {name: head.unusable for name, head in calibration.heads.items() if head.unusable},
        "parts": {split: measure_part(predictions, calibration) for split, predictions in parts.items()},
    }
