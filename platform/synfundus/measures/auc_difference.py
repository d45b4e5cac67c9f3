"""Interval and P value of the difference of two AUCs of the same patients.

The distribution of an AUC near 1 is skewed, and so is that of a difference. A symmetric interval then misses the true
difference on one side only, and too often. So the logit intervals of both AUCs are joined by MOVER, with the
correlation of both estimates (Zou & Donner 2008, doi 10.1002/sim.3095; for two AUCs of the same patients, doi
10.1002/sim.8562). The P value inverts the interval.
"""

from collections.abc import Callable

import numpy as np

from synfundus.measures.crossed import NO_VARIANCE, CrossedMean
from synfundus.measures.intervals import stretched_logit_interval

LARGEST_QUANTILE = 40.0
"""Quantile beyond which a P value is not searched."""


def joined_difference(
    first: CrossedMean, second: CrossedMean, difference: CrossedMean
) -> tuple[float, float, float] | None:
    """Return lower end, upper end and P value of first - second; None if an AUC or their difference has no variance.

    Args:
        first, second: AUCs.
        difference: first - second, whose standard error gives the correlation, and whose quantiles are used.
    """
    errors = first.standard_error, second.standard_error
    if min(*errors, difference.standard_error) <= NO_VARIANCE or not (
        0.0 < first.value < 1.0 and 0.0 < second.value < 1.0
    ):
        return None
    covariance = (errors[0] ** 2 + errors[1] ** 2 - difference.standard_error**2) / 2.0
    correlation = float(np.clip(covariance / (errors[0] * errors[1]), -1.0, 1.0))
    logit_quantile = difference.logit_quantile

    def ends(quantile: float) -> tuple[float, float]:
        """Return the interval of this quantile."""
        (a_low, a_high), (b_low, b_high) = (
            np.abs(
                np.array(stretched_logit_interval(auc.value, auc.standard_error, quantile, logit_quantile)) - auc.value
            )
            for auc in (first, second)
        )
        below, above = (
            float(np.sqrt(max(x**2 + y**2 - 2.0 * correlation * x * y, 0.0)))
            for x, y in ((a_low, b_high), (a_high, b_low))
        )
        return difference.value - below, difference.value + above

    return *ends(difference.quantile), _p_value(ends, difference)


def _p_value(ends: Callable[[float], tuple[float, float]], difference: CrossedMean) -> float:
    """Return the two-sided level at which the interval ends at 0."""
    from scipy.optimize import brentq  # takes a second to import, which each worker would pay when it starts

    if abs(difference.value) <= NO_VARIANCE:  # equal but for the rounding of a mean
        return 1.0

    def nearer_end(quantile: float) -> float:
        """Return the distance of the interval from 0, negative if it holds 0."""
        low, high = ends(quantile)
        return low if difference.value > 0.0 else -high

    # The interval at 95 % decides on which side the level lies, so P < 0.05 exactly if it excludes 0.
    excluded = nearer_end(difference.quantile) > 0.0
    bracket = (difference.quantile, LARGEST_QUANTILE) if excluded else (0.0, difference.quantile)
    if excluded and (difference.quantile >= LARGEST_QUANTILE or nearer_end(LARGEST_QUANTILE) > 0.0):
        quantile = max(difference.quantile, LARGEST_QUANTILE)
    else:
        quantile = float(brentq(nearer_end, *bracket))
    return difference.p_of(quantile)
