"""Fit the annotator's calibration on the validation split, and find out which heads are usable.

The scale (> 0) and offset of each head are fitted by maximum likelihood with the smoothed targets of Platt 1999. With
few images of a class only the offset is fitted. `operating_fit` chooses the thresholds.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from synfundus.diagnosis.calibration import Calibration, HeadCalibration
from synfundus.diagnosis.counts import LabelCounts
from synfundus.diagnosis.held_out import Predictions
from synfundus.labels import HEAD_NAMES
from synfundus.measures.inputs import Floats
from synfundus.measures.roc import auc

MIN_FOR_SCALE = 10
"""Smallest number of images per class with which the scale is fitted too."""
MIN_SCALE = 0.01
"""Smallest scale that a fit may return."""


def fit_platt(y: NDArray[np.int64], logit: Floats) -> tuple[float, float]:
    """Return scale and offset of Platt's scaling; the scale is 1 with fewer than `MIN_FOR_SCALE` images of a class.

    The targets are (n1 + 1) / (n1 + 2) and 1 / (n0 + 2), so that separable data keep finite values.
    """
    from scipy.optimize import minimize  # importing it takes a second, which every worker would pay

    n1 = int(y.sum())
    n0 = len(y) - n1
    target = np.where(y == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))

    def negative_log_likelihood(ab: Floats) -> tuple[float, Floats]:
        z = ab[0] * logit + ab[1]
        residual = expit(z) - target
        value = float(np.sum(np.logaddexp(0.0, z) - target * z))
        return value, np.array([float(residual @ logit), float(residual.sum())])

    fixed = min(n0, n1) < MIN_FOR_SCALE
    bounds = [(1.0, 1.0) if fixed else (MIN_SCALE, None), (None, None)]
    start = np.array([1.0, 0.0])
    fit = minimize(negative_log_likelihood, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-12})
    return float(fit.x[0]), float(fit.x[1])


def fit_calibration(validation: Predictions, training: LabelCounts | None, *, recalibrate: bool = True) -> Calibration:
    """Fit every head on the validation split.

    Args:
        validation: logits and experts' labels of the validation split.
        training: label counts of the training split; None for an external annotator, whose training is unknown.
        recalibrate: False leaves the probabilities as they are, and only finds out which heads are usable.
    """
    heads = {name: _fit_head(validation, training, v, recalibrate) for v, name in enumerate(HEAD_NAMES)}
    return Calibration(heads=heads, recalibrated=recalibrate)


def _fit_head(validation: Predictions, training: LabelCounts | None, v: int, recalibrate: bool) -> HeadCalibration:
    """Fit head `v`, unless it is unusable."""
    y, logit, _ = validation.head(v)
    num_positive = int(y.sum())
    head = HeadCalibration(
        num_positive=num_positive, num_negative=len(y) - num_positive, base_rate=_base_rate(training, v, y)
    )
    reason = _unusable_reason(validation, training, v)
    if reason is not None:
        return head.model_copy(update={"unusable": reason})
    if not recalibrate:
        return head
    scale, offset = fit_platt(y, logit)
    return head.model_copy(update={"scale": scale, "offset": offset})


def _unusable_reason(validation: Predictions, training: LabelCounts | None, v: int) -> str | None:
    """Return why head `v` is unusable, None if it is usable."""
    if not np.isfinite(validation.logit_BV[:, v]).any():
        return "the annotator has no such output"
    if training is not None and not training.both_classes[v]:
        positive, known = int(training.positive_V[v]), int(training.known[v])
        return f"training needs both classes, has {positive} positive and {known - positive} negative"
    y, logit, patients = validation.head(v)
    measured = auc(y, logit, groups=patients)
    if not measured.measurable:
        return f"validation: {measured.reason}"
    value, low, high = measured.interval
    if low <= 0.5:
        return f"AUC {value:.2f} on validation, interval {low:.2f} to {high:.2f}: chance"
    return None


def _base_rate(training: LabelCounts | None, v: int, y: NDArray[np.int64]) -> float | None:
    """Return the share of positives in the training labels; for an external annotator, in the validation labels `y`."""
    if training is None:
        return float(y.mean()) if len(y) else None
    known = int(training.known[v])
    return float(training.positive_V[v] / known) if known else None
