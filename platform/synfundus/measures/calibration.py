"""The interval of an expected calibration error (ECE), whose estimate is biased upwards.

The ECE sums |gap| over bins, where a gap is mean probability - share of positives. Noise never lowers a mean absolute
value, so the estimate lies above the true value by 0 to `largest_bias`: nothing where a gap is large against its noise,
and sqrt(2 / pi) standard deviations of the gap where probabilities are calibrated. The true value is therefore known
only up to a range, and its interval is that of Imbens & Manski 2004 (doi 10.1111/j.1468-0262.2004.00555.x) for a
parameter within a range: it covers 95 % wherever in the range the true value lies.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from synfundus.measures.inputs import Floats
from synfundus.measures.performance import calibration_gaps

CLEAR = 2.0
"""Standard deviations that noise may add to a gap. With 1, intervals of calibrated probabilities cover 90 % or less."""


def largest_bias(positive: ArrayLike, probability: ArrayLike, group: NDArray[np.int64]) -> float:
    """Return the upper end of the upward bias of an ECE, from the variance of each bin's gap between patients.

    A bin whose gap exceeds its standard deviation by far has no bias. The true gap is taken to be `CLEAR` standard
    deviations smaller than the estimated one; a true gap of x standard deviations adds E|x + N(0, 1)| - x of them.
    """
    gaps_GC = calibration_gaps(positive, probability, group)
    num_groups, n = len(gaps_GC), len(group)
    if num_groups < 2:
        return 0.0
    residual_GC = gaps_GC - gaps_GC.mean(axis=0)
    sd_C = np.sqrt(num_groups / (num_groups - 1) * (residual_GC**2).sum(axis=0))
    noisy = sd_C > 0.0
    x = np.maximum(np.abs(gaps_GC.sum(axis=0)[noisy]) / sd_C[noisy] - CLEAR, 0.0)
    return float((sd_C[noisy] * _excess_of_folded_normal(x)).sum() / n)


def _excess_of_folded_normal(x: Floats) -> Floats:
    """Return E|x + Z| - x of a standard normal Z, for x >= 0."""
    return np.asarray(np.sqrt(2.0 / np.pi) * np.exp(-(x**2) / 2.0) - 2.0 * x * ndtr(-x))


def ece_interval(value: float, standard_error: float, bias: float, quantile: float) -> tuple[float, float]:
    """Return the 95 % interval of a true ECE, in [0, 1].

    Args:
        value: the estimate.
        standard_error: standard deviation of the estimate.
        bias: upper end of its upward bias.
        quantile: two-sided 95 % quantile of the estimate's distribution: 1.96, or Student's t.
    """
    width = quantile * standard_error
    if standard_error > 0.0:
        # Imbens & Manski's quantile lies between the one-sided 1.645 (wide range) and the two-sided 1.96 (no range).
        width *= _quantile_within_range(bias / standard_error) / _quantile_within_range(0.0)
    return max(0.0, value - bias - width), min(1.0, value + width)


def _quantile_within_range(length: float) -> float:
    """Return c of ndtr(c + length) - ndtr(-c) = 0.95, for the length of the range in standard errors."""
    low, high = 1.0, 3.0
    for _ in range(50):
        middle = (low + high) / 2.0
        covered = float(ndtr(middle + length) - ndtr(-middle))
        low, high = (middle, high) if covered < 0.95 else (low, middle)
    return (low + high) / 2.0
