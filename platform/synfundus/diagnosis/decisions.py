"""Measure an annotator's decisions on held-out images, at the operating points of a study."""

from collections.abc import Mapping
from typing import TypedDict

import numpy as np

from synfundus.diagnosis.calibration import Calibration
from synfundus.diagnosis.config import OperatingPointConfig
from synfundus.diagnosis.held_out import Predictions, decode_held_out
from synfundus.diagnosis.manifest import CALIBRATION, HELD_OUT, AnnotatorManifest
from synfundus.diagnosis.metrics import AnnotatorMetrics, AnnotatorScores, HeadMetrics, HeadScores, SplitMetrics
from synfundus.diagnosis.operating_fit import fit_operating_points
from synfundus.diagnosis.operating_points import OperatingPoints
from synfundus.labels import HEAD_NAMES, HEADS, NUM_DR_HEADS, FloatArray
from synfundus.measures.measure import Measure
from synfundus.measures.predictive_value import positive_predictive_value
from synfundus.measures.statistics import f1, quadratic_kappa, sensitivity, specificity
from synfundus.storage import METRICS, Storage, read_manifest, read_record, read_trusted

GRADES = HEADS["dr_grade"]


class _Decisions(TypedDict):
    """Measures of a head that depend on its operating point."""

    sensitivity: Measure
    specificity: Measure
    ppv: Measure
    f1: Measure


def read_annotator_metrics(
    storage: Storage, folder: str, operating_points: Mapping[str, OperatingPointConfig]
) -> AnnotatorMetrics:
    """Return the measures of the complete annotator in `folder` at these operating points.

    Raises:
        WrongInputError: the folder is not complete or holds no annotator.
        StorageError: a file differs from its manifest.
    """
    manifest = read_manifest(storage, folder, AnnotatorManifest)
    scores = read_record(storage, folder, METRICS, manifest, AnnotatorScores)
    calibration = read_record(storage, folder, CALIBRATION, manifest, Calibration)
    splits = decode_held_out(read_trusted(storage, folder, HELD_OUT, manifest))
    points = fit_operating_points(operating_points, calibration, splits["validation"])
    return measure_decisions(scores, splits, calibration, points)


def read_held_out(storage: Storage, folder: str) -> dict[str, Predictions]:
    """Return the predictions of the complete annotator in `folder` on each held-out split.

    Raises:
        WrongInputError: the folder is not complete or holds no annotator.
        StorageError: a file differs from its manifest.
    """
    return decode_held_out(read_trusted(storage, folder, HELD_OUT, read_manifest(storage, folder, AnnotatorManifest)))


def measure_decisions(
    scores: AnnotatorScores, splits: Mapping[str, Predictions], calibration: Calibration, points: OperatingPoints
) -> AnnotatorMetrics:
    """Return `scores` with the measures of the decisions at `points`."""
    return AnnotatorMetrics(
        unusable=scores.unusable,
        unusable_heads=scores.unusable_heads,
        operating_points=points.heads,
        unmet=points.unmet,
        splits={
            split: _measure_split(of_split.heads, splits[split], calibration, points)
            for split, of_split in scores.splits.items()
        },
        fresh_tensors=scores.fresh_tensors,
    )


def _measure_split(
    scores: Mapping[str, HeadScores], predictions: Predictions, calibration: Calibration, points: OperatingPoints
) -> SplitMetrics:
    """Return the measures of one split."""
    p_BV = calibration.probabilities(predictions.logit_BV)
    return SplitMetrics(
        heads={
            name: HeadMetrics(
                **scores[name].model_dump(), **_measure_head(name, predictions, p_BV, calibration, points)
            )
            for name in HEAD_NAMES
        },
        quadratic_kappa=_measure_grades(predictions, p_BV, calibration, points),
    )


def _measure_head(
    head: str, predictions: Predictions, p_BV: FloatArray, calibration: Calibration, points: OperatingPoints
) -> _Decisions:
    """Return the measures of a head's decision on the images that an expert labelled and the annotator annotates.

    Rules between labels are not applied.
    """
    v = HEAD_NAMES.index(head)
    y, _, groups = predictions.head(v)
    point = points.heads.get(head)
    if point is None or point.reason is not None:
        reason = f"unusable: {calibration.heads[head].unusable}" if point is None else str(point.reason)
        none = Measure.not_measurable(reason, len(y))
        return {"sensitivity": none, "specificity": none, "ppv": none, "f1": none}
    value = (points.grades(p_BV) if v < NUM_DR_HEADS else points.binary(head, p_BV))[predictions.labelled(v)]
    known = value >= 0  # a table of predictions may lack a part of a grade
    y, groups = y[known], groups[known]
    decided = value[known] > (v if v < NUM_DR_HEADS else 0)
    return {
        "sensitivity": sensitivity(y, decided, groups),
        "specificity": specificity(y, decided, groups),
        "ppv": positive_predictive_value(y, decided, point.prevalence, groups),
        "f1": f1(y, decided, groups),
    }


def _measure_grades(
    predictions: Predictions, p_BV: FloatArray, calibration: Calibration, points: OperatingPoints
) -> Measure:
    """Return quadratic kappa of the annotated DR grades, without the rule for images that are not a fundus."""
    rows = np.flatnonzero(predictions.expert_BK[:, 0])
    if (reason := calibration.unusable.get("dr_grade")) is not None:
        return Measure.not_measurable(f"unusable: {reason}", len(rows))
    if (reason := points.unmet.get("dr_grade")) is not None:
        return Measure.not_measurable(reason, len(rows))
    annotated = points.grades(p_BV)[rows]
    rows, annotated = rows[annotated >= 0], annotated[annotated >= 0]
    grade = predictions.p_BV[rows][:, GRADES].sum(axis=1).round().astype(np.int64)
    return quadratic_kappa(grade, annotated, groups=np.asarray(predictions.patients, np.str_)[rows])
