"""Predict the held-out images, and measure the scores per split and head. `decisions` measures the annotations."""

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from synfundus.diagnosis.annotator import Scorer
from synfundus.diagnosis.calibration import Calibration
from synfundus.diagnosis.held_out import Predictions
from synfundus.diagnosis.metrics import AnnotatorScores, HeadScores, SplitScores
from synfundus.fundus.dataset import PreparedImages
from synfundus.labels import HEAD_NAMES, NUM_LABELS, NUM_VALUES
from synfundus.measures.measure import Measure
from synfundus.measures.roc import auc
from synfundus.measures.statistics import average_precision, ece


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


def _measure_head(predictions: Predictions, calibration: Calibration, v: int) -> HeadScores:
    """Return the measures of head `v`; the calibration error is not measurable for an unusable head."""
    y, logit, groups = predictions.head(v)
    head = calibration.heads[HEAD_NAMES[v]]
    return HeadScores(
        num_images=len(y),
        num_patients=len(np.unique(groups)),
        num_positive=int(y.sum()),
        auc=auc(y, logit, groups),
        average_precision=average_precision(y, logit, groups),
        ece=ece(y, expit(head.scale * logit + head.offset), groups=groups)
        if head.unusable is None
        else Measure.not_measurable(f"unusable: {head.unusable}", len(y)),
    )


def measure_scores(
    splits: Mapping[str, Predictions], calibration: Calibration, fresh_tensors: tuple[str, ...] | None = None
) -> AnnotatorScores:
    """Return the content of `metrics.json`.

    Args:
        splits: predictions by split.
        fresh_tensors: tensors that did not start from `init_from`; None without `init_from`.
    """
    return AnnotatorScores(
        unusable=calibration.unusable,
        unusable_heads={name: head.unusable for name, head in calibration.heads.items() if head.unusable},
        splits={
            split: SplitScores(
                heads={name: _measure_head(predictions, calibration, v) for v, name in enumerate(HEAD_NAMES)}
            )
            for split, predictions in splits.items()
        },
        fresh_tensors=fresh_tensors,
    )
