"""Operating points and predictions that tests need and no image gives."""

import numpy as np

from synfundus.diagnosis.held_out import Predictions
from synfundus.diagnosis.operating_points import OperatingPoint, OperatingPoints
from synfundus.labels import HEAD_NAMES, NUM_DR_HEADS, NUM_LABELS, NUM_VALUES


def half_points() -> OperatingPoints:
    """Return thresholds at a probability of 0.5, and at the expected grades 0.5, 1.5, 2.5 and 3.5."""
    thresholds = [v + 0.5 if v < NUM_DR_HEADS else 0.5 for v in range(NUM_VALUES)]
    heads = {
        head: OperatingPoint(rule="youden", prevalence=0.5, threshold=threshold)
        for head, threshold in zip(HEAD_NAMES, thresholds, strict=True)
    }
    return OperatingPoints(heads=heads)


def no_predictions() -> Predictions:
    """Return the predictions of an empty split."""
    empty = np.zeros((0, NUM_VALUES), np.float32)
    return Predictions(empty, empty, np.zeros((0, NUM_LABELS), np.bool_), [])
