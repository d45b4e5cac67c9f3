"""ROC: area under the curve with its interval, the curve itself, and a band around it.

The interval of the area is DeLong's (DeLong & Clarke-Pearson 1988, doi 10.2307/2531595) with Obuchowski's variance for
several images of a patient (1997, doi 10.2307/2533958), on the logit scale and with Student's t for few patients in a
class. If that variance vanishes (complete separation), it is Newcombe's score interval (doi 10.1002/sim.2324).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from synfundus.measures.inputs import Floats, Groups, binary_labels, group_index
from synfundus.measures.intervals import Z_95, logit_interval, wilson
from synfundus.measures.measure import Measure


def auc(y_true: ArrayLike, score: ArrayLike, groups: Groups = None) -> Measure:
    """Return the area under the ROC curve of `score` (n,), any scale, for 0/1 labels (n,); ties count one half."""
    positive, reason = binary_labels(y_true)
    n = len(positive)
    if reason:
        return Measure.not_measurable(reason, n)
    group = group_index(groups, n)
    groups_10, groups_01 = len(np.unique(group[positive])), len(np.unique(group[~positive]))
    if min(groups_10, groups_01) < 2:
        return Measure.not_measurable(f"fewer than 2 patients in a class ({groups_10} and {groups_01})", n)
    theta_T, covariance_TT = auc_covariance(positive, np.asarray(score, np.float64)[None], group)
    theta, variance = float(theta_T[0]), float(covariance_TT[0, 0])
    if variance <= 1e-12 or theta in (0.0, 1.0):
        low, high = _auc_score_interval(theta, groups_10, groups_01)
    else:
        quantile = float(stdtrit(min(groups_10, groups_01) - 1, 0.975))
        low, high = logit_interval(theta, variance**0.5, quantile)
    return Measure.measured(theta, low, high, n)


def auc_covariance(positive: NDArray[np.bool_], score_TN: Floats, group: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the AUCs (T,) of T scores of the same images, and Obuchowski's covariance (T, T) of them.

    Without several images of a patient it is DeLong's covariance.

    Args:
        positive: (N,) class of each image; each class has images of 2 groups or more.
        score_TN: scores, any scale.
        group: (N,) number 0 … G-1 of each image's patient.
    """
    found = auc_residuals(positive, score_TN, group, int(group.max()) + 1)
    return found.auc_T, found.covariance()


@dataclass(frozen=True)
class AucResiduals:
    """AUCs of T scores of the same images, and what each patient contributes to their errors."""

    auc_T: Floats
    residual_10_TG: Floats
    """Contributions of each patient's positive images; 0 for a patient without one."""
    residual_01_TG: Floats
    """Contributions of each patient's negative images; 0 for a patient without one."""
    groups_10: int
    """Patients with a positive image."""
    groups_01: int
    """Patients with a negative image."""
    num_groups: int
    """Patients with an image of either class."""

    def total(self) -> Floats:
        """Return the contribution of each patient, (T, G)."""
        return self.residual_10_TG + self.residual_01_TG

    def covariance(self) -> Floats:
        """Return Obuchowski's covariance, (T, T)."""
        mixed_TT = self.residual_10_TG @ self.residual_01_TG.T
        return np.asarray(
            self.groups_10 / (self.groups_10 - 1) * (self.residual_10_TG @ self.residual_10_TG.T)
            + self.groups_01 / (self.groups_01 - 1) * (self.residual_01_TG @ self.residual_01_TG.T)
            + self.num_groups / (self.num_groups - 1) * (mixed_TT + mixed_TT.T)
        )


def auc_residuals(
    positive: NDArray[np.bool_], score_TN: Floats, group: NDArray[np.int64], num_columns: int
) -> AucResiduals:
    """Return AUCs and residuals of `num_columns` patients, of whom some may have no image; see `auc_covariance`."""
    from scipy.stats import rankdata  # takes a second to import, which each worker would pay when it starts

    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    # Placement values: V10 of a positive is the share of negatives below it, V01 of a negative that of positives above.
    rank_TN = rankdata(score_TN, axis=1)
    v10_TP = (rank_TN[:, positive] - rankdata(score_TN[:, positive], axis=1)) / num_negative
    v01_TQ = 1.0 - (rank_TN[:, ~positive] - rankdata(score_TN[:, ~positive], axis=1)) / num_positive
    theta_T = v10_TP.mean(axis=1)
    return AucResiduals(
        auc_T=theta_T,
        residual_10_TG=_group_sums(v10_TP - theta_T[:, None], group[positive], num_columns) / num_positive,
        residual_01_TG=_group_sums(v01_TQ - theta_T[:, None], group[~positive], num_columns) / num_negative,
        groups_10=len(np.unique(group[positive])),
        groups_01=len(np.unique(group[~positive])),
        num_groups=len(np.unique(group)),
    )


def _group_sums(values_TN: Floats, group: NDArray[np.int64], num_groups: int) -> Floats:
    """Return the sum of each row's values in each group, (T, G)."""
    return np.stack([np.bincount(group, values_N, num_groups) for values_N in values_TN])


def _auc_score_interval(theta: float, num_positive: int, num_negative: int) -> tuple[float, float]:
    """Return the AUCs from which `theta` lies within 1.96 of their own standard errors (Newcombe 2006, method 5)."""
    from scipy.optimize import brentq  # takes a second to import, see above

    half = (num_positive + num_negative) / 2.0 - 1.0

    def excess(auc_value: float) -> float:
        shape = 1.0 + half * ((1.0 - auc_value) / (2.0 - auc_value) + auc_value / (1.0 + auc_value))
        variance = auc_value * (1.0 - auc_value) * shape / (num_positive * num_negative)
        return float(abs(theta - auc_value) - Z_95 * np.sqrt(variance))

    low = 0.0 if theta == 0.0 else float(brentq(excess, 0.0, theta - 1e-12 * theta))
    high = 1.0 if theta == 1.0 else float(brentq(excess, theta + 1e-12 * (1.0 - theta), 1.0))
    return low, high


def roc_curve(y_true: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    """Return `(false_positive_rate, sensitivity)` at 101 evenly spaced false positive rates.

    The labels must hold both classes.
    """
    positive, reason = binary_labels(y_true)
    if reason:
        raise ValueError(reason)
    s = np.asarray(score, np.float64)
    thresholds = np.unique(s)[::-1]
    negatives, positives = np.sort(s[~positive]), np.sort(s[positive])
    fpr = 1.0 - np.searchsorted(negatives, thresholds) / len(negatives)
    tpr = 1.0 - np.searchsorted(positives, thresholds) / len(positives)
    grid = np.linspace(0.0, 1.0, 101)
    # The curve is vertical at a rate that several thresholds reach: its upper end counts.
    return grid, np.interp(grid, *_upper_ends(np.r_[0.0, fpr], np.r_[0.0, tpr]))


def roc_band(y_true: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats, Floats, Floats]:
    """Return `roc_curve` with a band: `(false_positive_rate, sensitivity, low, high)`, each (101,).

    Both rates of a threshold are uncertain, so the band's lower edge at a rate is Wilson's lower bound of the
    sensitivity at Wilson's lower bound of that rate, and the upper edge likewise: at least 95 % at each point.
    """
    positive, _ = binary_labels(y_true)
    rate, sensitivity = roc_curve(y_true, score)
    num_positive, num_negative = float(positive.sum()), float((~positive).sum())

    def edge(side: int) -> Floats:
        at = np.interp([wilson(p, num_negative)[side] for p in rate], rate, sensitivity)
        return np.array([wilson(p, num_positive)[side] for p in at])

    return rate, sensitivity, np.clip(edge(0), 0.0, 1.0), np.clip(edge(1), 0.0, 1.0)


def _upper_ends(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return the last of the points that share an x."""
    last = np.r_[x[1:] != x[:-1], True]
    return x[last], y[last]
