"""Smallest differences that a comparison can be expected to find.

The power is that of a two-sided test. It is computed from the standard error, never from the observed difference, so it
tells what the comparison could have found, and not again what it found (Hoenig & Heisey 2001, doi
10.1198/000313001300339897).
"""

import numpy as np
from scipy.special import nctdtrinc, ndtr, ndtri, stdtrit

POWER = 0.8
ALPHA = 0.05


def detectable_difference(standard_error: float, degrees_of_freedom: float, alpha: float = ALPHA) -> float:
    """Return the true difference that a test with this standard error finds with a power of 80 %.

    Args:
        standard_error: standard error of the difference, as in `difference.Difference`.
        degrees_of_freedom: of Student's t; the power comes from the noncentral t.
        alpha: level of the test. For the first step of Holm's correction of m comparisons, 0.05 / m.

    A mean over several seeds has Cochran and Cox's quantiles. `CrossedMean.freedom_at(alpha)` gives the degrees of
    freedom of the Student's t that has the same critical value at this level, so the test that is planned here rejects
    where the test of the difference rejects. The power beyond that value is an approximation, because the statistic
    has two variances with degrees of freedom of their own; it is exact if one of them is 0. For three seeds and levels
    down to 0.05 / 100, simulated studies find this difference in 74 to 81 %. The test of an AUC inverts an interval
    that is not symmetric, and its power is taken to be that of the symmetric one.
    """
    critical = float(stdtrit(degrees_of_freedom, 1.0 - alpha / 2.0))
    return float(nctdtrinc(degrees_of_freedom, 1.0 - POWER, critical)) * standard_error


def auc_standard_error(auc: float, num_positive: int, num_negative: int) -> float:
    """Return the standard error to expect of an AUC in [0, 1], before a study: from the numbers of each class alone.

    Source: Hanley & McNeil 1982, doi 10.1148/radiology.143.1.7063747.
    """
    q1, q2 = auc / (2.0 - auc), 2.0 * auc**2 / (1.0 + auc)
    variance = auc * (1.0 - auc) + (num_positive - 1) * (q1 - auc**2) + (num_negative - 1) * (q2 - auc**2)
    return float(np.sqrt(max(variance, 0.0) / (num_positive * num_negative)))


def detectable_auc_difference(
    auc: float, num_positive: int, num_negative: int, correlation: float, alpha: float = ALPHA
) -> float | None:
    """Return the increase over `auc` that a paired comparison of n patients finds with a power of 80 %; None if none.

    Args:
        auc: AUC of the worse arm, 0.5 to 1.
        num_positive: patients with the finding, one image each.
        num_negative: patients without it.
        correlation: of the two arms' estimates, 0 to 1 (Hanley & McNeil 1983, doi 10.1148/radiology.148.3.6878708);
            about 0.5 for two networks on the same images.
        alpha: level of the two-sided test.

    Returns:
        The increase in (0, 1 - `auc`], or None if even an AUC of 1 is found with less power.
    """
    base = auc_standard_error(auc, num_positive, num_negative)
    if power_of_auc_difference(auc, 1.0, num_positive, num_negative, correlation, alpha) < POWER or base == 0.0:
        return None
    low, high = auc, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        enough = power_of_auc_difference(auc, middle, num_positive, num_negative, correlation, alpha) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high - auc


def power_of_auc_difference(
    auc: float, other_auc: float, num_positive: int, num_negative: int, correlation: float, alpha: float = ALPHA
) -> float:
    """Return the power, in [0, 1], of a paired comparison of two true AUCs; see `detectable_auc_difference`."""
    first = auc_standard_error(auc, num_positive, num_negative)
    second = auc_standard_error(other_auc, num_positive, num_negative)
    error = np.sqrt(first**2 + second**2 - 2.0 * correlation * first * second)
    if error == 0.0:
        return float(auc != other_auc)
    return float(ndtr(abs(other_auc - auc) / error - ndtri(1.0 - alpha / 2.0)))
