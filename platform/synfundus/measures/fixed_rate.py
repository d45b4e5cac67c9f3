"""Sensitivity at a fixed false positive rate, and the number of negatives that such a rate needs.

A low false positive rate is a statement about the largest few scores of the negatives. The rate is measurable if the
largest of them exceeds the true threshold with a confidence of 97.5 %, which needs (1 - rate)^n <= 0.025: 368 negatives
for 1 %, and 3,688 for 0.1 %. With fewer, no threshold is known to keep the rate.
"""

from math import ceil, floor, log, log1p

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr

from synfundus.measures.inputs import Floats, Groups, binary_labels, select_groups
from synfundus.measures.intervals import effective_n, wilson
from synfundus.measures.measure import Measure


def negatives_needed(false_positive_rate: float) -> int:
    """Return the smallest number of independent negatives that make a false positive rate in (0, 1) measurable."""
    return ceil(log(0.025) / log1p(-false_positive_rate) - 1e-9)


def sensitivity_at(false_positive_rate: float, y_true: ArrayLike, score: ArrayLike, groups: Groups = None) -> Measure:
    """Return the share of positives whose score exceeds the threshold that this share of negatives exceeds.

    The threshold is estimated, too. The interval joins two by MOVER (Zou & Donner 2008, doi 10.1002/sim.3095): Wilson's
    of the sensitivity at the estimated threshold, and that of the threshold between two ranks of the negatives. n is
    the number of positives.

    Args:
        false_positive_rate: in (0, 1).
        y_true: 0/1 labels (n,); 1 is the class to be found, such as members of a training set.
        score: any scale (n,); higher speaks for 1.
        groups: patient of each image; dependent images count at the effective n of Rao & Scott.
    """
    positive, reason = binary_labels(y_true)
    s, num_positive = np.asarray(score, np.float64), int(positive.sum())
    if reason:
        return Measure.not_measurable(reason, num_positive)
    negatives = np.sort(s[~positive])[::-1]
    taken = floor(false_positive_rate * len(negatives) + 1e-9)
    threshold = negatives[min(taken, len(negatives) - 1)]
    independent = _independent(s[~positive] > threshold, select_groups(groups, ~positive))
    needed = negatives_needed(false_positive_rate)
    if independent < needed:
        text = (
            f"{len(negatives):,} negatives count as {independent:,} independent ones at this threshold;"
            f" {100.0 * false_positive_rate:g} % false positives need {needed:,}"
        )
        return Measure.not_measurable(text, num_positive)
    hit = (s[positive] > threshold).astype(np.float64)
    value, effective = float(hit.mean()), effective_n(hit, select_groups(groups, positive))
    low, high = wilson(value, effective)
    at_low, at_high = _within_threshold_ranks(s[positive], negatives, independent, false_positive_rate)
    low = value - float(np.hypot(value - low, max(value - at_low, 0.0)))
    high = value + float(np.hypot(high - value, max(at_high - value, 0.0)))
    return Measure.measured(value, max(low, 0.0), min(high, 1.0), num_positive)


def _independent(above: NDArray[np.bool_], groups: Groups) -> int:
    """Return the number of independent negatives: the effective n, or the patients if none or all lie above."""
    return floor(effective_n(above.astype(np.float64), groups) + 1e-9)


def _within_threshold_ranks(positives: Floats, negatives: Floats, independent: int, rate: float) -> tuple[float, float]:
    """Return the sensitivity at the upper and at the lower end of the 95 % interval of the threshold.

    Of `independent` negatives a binomial number lies above the true threshold. Exact ranks are whole numbers and cover
    more than 95 %, so the interval interpolates between them (Hettmansperger & Sheather 1986, Stat. Prob. Letters
    4:75), with mid-P probabilities.
    """
    count = np.arange(independent + 1, dtype=np.float64)
    at_most = bdtr(count, independent, rate)
    mid_p = at_most - np.diff(at_most, prepend=0.0) / 2.0
    # With k negatives above it, the threshold lies between the ranks k - 1 and k.
    ranks = np.interp([0.025, 0.975], mid_p, count) * (len(negatives) / independent) - 0.5
    not_above = np.searchsorted(np.sort(positives), negatives, side="right") / len(positives)
    above = np.r_[0.0, 1.0 - not_above, 1.0]
    at_low, at_high = np.interp(ranks, np.arange(-1, len(negatives) + 1), above)
    return float(at_low), float(at_high)
