"""Calibration and measures of an annotator, from its predictions on the held-out splits."""

from collections.abc import Mapping
from dataclasses import dataclass

from synfundus.diagnosis.calibration import Calibration
from synfundus.diagnosis.counts import LabelCounts
from synfundus.diagnosis.fitting import fit_calibration
from synfundus.diagnosis.held_out import Predictions
from synfundus.diagnosis.measuring import measure_scores
from synfundus.diagnosis.metrics import AnnotatorScores


@dataclass(frozen=True)
class Assessment:
    """The records that are stored beside the network or table of an annotator."""

    calibration: Calibration
    scores: AnnotatorScores
    splits: Mapping[str, Predictions]
    """Predictions on `validation` and `test`."""


def assess(
    splits: Mapping[str, Predictions],
    training: LabelCounts | None,
    *,
    recalibrate: bool = True,
    fresh_tensors: tuple[str, ...] | None = None,
) -> Assessment:
    """Calibrate on `validation` and measure on both splits; the arguments are those of the functions called."""
    calibration = fit_calibration(splits["validation"], training, recalibrate=recalibrate)
    return Assessment(calibration, measure_scores(splits, calibration, fresh_tensors), splits)
