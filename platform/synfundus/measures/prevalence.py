"""Share of images with a finding, from the share in which an imperfect detector finds it.

The estimate is Rogan & Gladen's (1978, doi 10.1093/oxfordjournals.aje.a112510), the interval that of Lang & Reiczigel
(2014, doi 10.1016/j.prevetmed.2013.09.015): it counts the sampling error of the share, of the sensitivity and of the
specificity.
"""

import numpy as np

from synfundus.measures.intervals import Z_95
from synfundus.measures.measure import Measure

MIN_YOUDEN = 0.5
"""Smallest sensitivity + specificity - 1 of a detector whose share can be corrected; below it the interval explodes."""


def true_share(detected: Measure, sensitivity: Measure, specificity: Measure) -> Measure:
    """Return the share of images with the finding, in [0, 1].

    With p detected, the share is (p + sp - 1) / (se + sp - 1).

    Args:
        detected: share of independent images in which the detector finds it.
        sensitivity: of the detector, from independent images with the finding (`n` of them).
        specificity: of the detector, from independent images without it.
    """
    for measure in (detected, sensitivity, specificity):
        if measure.value is None:
            return Measure.not_measurable(measure.reason or "", detected.n)
    p, se, sp = detected.interval[0], sensitivity.interval[0], specificity.interval[0]
    if se + sp - 1.0 < MIN_YOUDEN:
        reason = f"the detector has sensitivity {se:.2f} and specificity {sp:.2f}; needs a sum of {1 + MIN_YOUDEN:g}"
        return Measure.not_measurable(reason, detected.n)
    low, high = _lang_reiczigel(p, detected.n, se, sensitivity.n, sp, specificity.n)
    value = float(np.clip((p + sp - 1.0) / (se + sp - 1.0), 0.0, 1.0))
    return Measure.measured(value, min(low, value), max(high, value), detected.n)


def _lang_reiczigel(p: float, n: int, se: float, num_with: int, sp: float, num_without: int) -> tuple[float, float]:
    """Return the interval of the true share, cut to [0, 1]."""
    total = n + Z_95**2
    p = (n * p + Z_95**2 / 2) / total
    se, num_with = (num_with * se + 1.0) / (num_with + 2.0), num_with + 2
    sp, num_without = (num_without * sp + 1.0) / (num_without + 2.0), num_without + 2
    share, youden = (p + sp - 1.0) / (se + sp - 1.0), se + sp - 1.0
    of_sensitivity, of_specificity = se * (1.0 - se) / num_with, sp * (1.0 - sp) / num_without
    shift = 2.0 * Z_95**2 * (share * of_sensitivity - (1.0 - share) * of_specificity)
    variance = p * (1.0 - p) / total + share**2 * of_sensitivity + (1.0 - share) ** 2 * of_specificity
    width = Z_95 * float(np.sqrt(variance)) / youden
    return max(0.0, share + shift - width), min(1.0, share + shift + width)
