"""Measures with a 95 % interval and their n: discrimination, calibration and agreement of labels.

Where `groups` (patients) are given, images of one patient count as dependent:

- AUC: DeLong, DeLong & Clarke-Pearson 1988 (doi 10.2307/2531595), with Obuchowski's 1997 variance for clusters
  (doi 10.2307/2533958), on the logit scale and with Student's t for few patients in a class. Where that variance
  vanishes (complete separation), Newcombe's score interval (doi 10.1002/sim.2324).
- Proportions: Wilson's interval at the effective n of Rao & Scott 1992 (doi 10.2307/2532311).
- F1: Wilson's interval of J = TP / (TP + FP + FN), of which F1 = 2 J / (1 + J) is a monotone function.
- Average precision, calibration error and kappa: bootstrap of patients with a fixed seed.

A measure that its data cannot give is not measurable and has a reason, never a number.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtri, stdtrit

NUM_RESAMPLES = 1000
SEED = 0
BLOCK_NUMBERS = 2**18
"""Numbers of the bootstrap that are in memory at once, of 8 bytes and some five times over."""
Z_95 = float(ndtri(0.975))

Floats = NDArray[np.float64]
Groups = Sequence[str] | NDArray[Any] | None


@dataclass(frozen=True)
class Measure:
    """A number with its 95 % interval and the n behind it, or the reason why there is none."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None

    @property
    def measurable(self) -> bool:
        return self.value is not None

    @classmethod
    def not_measurable(cls, reason: str, n: int) -> "Measure":
        return cls(None, None, None, n, reason)

    def to_dict(self) -> dict[str, Any]:
        """`{"status": "measured", value, low, high, n}` or `{"status": "not measurable", reason, n}`."""
        if self.value is None:
            return {"status": "not measurable", "reason": self.reason, "n": self.n}
        return {"status": "measured", "value": self.value, "low": self.low, "high": self.high, "n": self.n}


def _group_index(groups: Groups, n: int) -> NDArray[np.int64]:
    """Group number 0 … G-1 of each row; without groups every row is its own."""
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise ValueError(f"{len(groups)} groups for {n} rows")
    return np.asarray(np.unique(np.asarray(groups), return_inverse=True)[1], np.int64).reshape(n)


def _binary(y_true: ArrayLike) -> tuple[NDArray[np.bool_], str | None]:
    """Labels as booleans, and why they are not measurable when they are not."""
    y = np.asarray(y_true)
    if y.ndim != 1 or not np.isin(y, (0, 1)).all():
        raise ValueError("labels must be a vector of 0 and 1; leave unknown ones out")
    positive = y.astype(np.bool_)
    counts = f"{int(positive.sum())} positive and {int((~positive).sum())} negative"
    return positive, None if 0 < positive.sum() < len(y) else f"needs both classes, has {counts}"


def auc(y_true: ArrayLike, score: ArrayLike, groups: Groups = None) -> Measure:
    """Area under the ROC curve of `score` (n,), any scale, for 0/1 labels (n,); ties count one half."""
    from scipy.stats import rankdata  # takes a second, which every worker would pay at its start

    positive, reason = _binary(y_true)
    n = len(positive)
    if reason:
        return Measure.not_measurable(reason, n)
    s = np.asarray(score, np.float64)
    group = _group_index(groups, n)
    num_positive, num_negative = int(positive.sum()), int(n - positive.sum())
    # Placement values: V10 of a positive is the share of negatives below it, V01 of a negative that of positives above.
    ranks = rankdata(s)
    v10 = (ranks[positive] - rankdata(s[positive])) / num_negative
    v01 = 1.0 - (ranks[~positive] - rankdata(s[~positive])) / num_positive
    theta = float(v10.mean())

    num_groups = int(group.max()) + 1
    residual_10 = np.bincount(group[positive], v10 - theta, num_groups)
    residual_01 = np.bincount(group[~positive], v01 - theta, num_groups)
    groups_10, groups_01 = len(np.unique(group[positive])), len(np.unique(group[~positive]))
    if min(groups_10, groups_01) < 2:
        return Measure.not_measurable(f"fewer than 2 patients in a class ({groups_10} and {groups_01})", n)
    variance = (
        groups_10 / (groups_10 - 1) * (residual_10 @ residual_10) / num_positive**2
        + groups_01 / (groups_01 - 1) * (residual_01 @ residual_01) / num_negative**2
        + 2.0 * num_groups / (num_groups - 1) * (residual_10 @ residual_01) / (num_positive * num_negative)
    )
    if variance <= 1e-12 or theta in (0.0, 1.0):
        low, high = _auc_score_interval(theta, groups_10, groups_01)
    else:
        width = stdtrit(min(groups_10, groups_01) - 1, 0.975) * np.sqrt(variance) / (theta * (1.0 - theta))
        low, high = float(expit(logit(theta) - width)), float(expit(logit(theta) + width))
    return Measure(theta, low, high, n)


def _auc_score_interval(theta: float, num_positive: int, num_negative: int) -> tuple[float, float]:
    """Newcombe 2006, method 5: all AUCs from which `theta` lies within 1.96 of their own standard errors."""
    from scipy.optimize import brentq  # takes a second, as above

    half = (num_positive + num_negative) / 2.0 - 1.0

    def excess(auc_value: float) -> float:
        shape = 1.0 + half * ((1.0 - auc_value) / (2.0 - auc_value) + auc_value / (1.0 + auc_value))
        variance = auc_value * (1.0 - auc_value) * shape / (num_positive * num_negative)
        return float(abs(theta - auc_value) - Z_95 * np.sqrt(variance))

    low = 0.0 if theta == 0.0 else float(brentq(excess, 0.0, theta - 1e-12 * theta))
    high = 1.0 if theta == 1.0 else float(brentq(excess, theta + 1e-12 * (1.0 - theta), 1.0))
    return low, high


def roc_curve(y_true: ArrayLike, score: ArrayLike, num_points: int = 101) -> tuple[Floats, Floats]:
    """Sensitivity at `num_points` evenly spaced false positive rates: `(false_positive_rate, sensitivity)`.

    The labels must hold both classes.
    """
    positive, reason = _binary(y_true)
    if reason:
        raise ValueError(reason)
    s = np.asarray(score, np.float64)
    thresholds = np.unique(s)[::-1]
    negatives, positives = np.sort(s[~positive]), np.sort(s[positive])
    fpr = 1.0 - np.searchsorted(negatives, thresholds) / len(negatives)
    tpr = 1.0 - np.searchsorted(positives, thresholds) / len(positives)
    grid = np.linspace(0.0, 1.0, num_points)
    # At a rate reached by several thresholds the curve is vertical: its upper end counts.
    return grid, np.interp(grid, *_upper_ends(np.r_[0.0, fpr], np.r_[0.0, tpr]))


def roc_band(y_true: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats, Floats, Floats]:
    """`roc_curve` with a band: `(false_positive_rate, sensitivity, low, high)`, each (101,).

    Both rates of a threshold are uncertain, so the band's lower edge at a rate is Wilson's lower bound of the
    sensitivity at Wilson's lower bound of that rate, and the upper edge likewise: at least 95 % at each point.
    """
    positive, _ = _binary(y_true)
    rate, sensitivity = roc_curve(y_true, score)
    num_positive, num_negative = float(positive.sum()), float((~positive).sum())

    def edge(side: int) -> Floats:
        at = np.interp([_wilson(p, num_negative)[side] for p in rate], rate, sensitivity)
        return np.array([_wilson(p, num_positive)[side] for p in at])

    return rate, sensitivity, np.clip(edge(0), 0.0, 1.0), np.clip(edge(1), 0.0, 1.0)


def _upper_ends(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    last = np.r_[x[1:] != x[:-1], True]
    return x[last], y[last]


def proportion(success: ArrayLike, groups: Groups = None) -> Measure:
    """Share of true values with Wilson's interval; with groups at the effective n of Rao & Scott."""
    x = np.asarray(success, np.float64)
    n = len(x)
    if n == 0:
        return Measure.not_measurable("no image", 0)
    p = float(x.mean())
    low, high = _wilson(p, _effective_n(x, groups))
    return Measure(p, low, high, n)


def _effective_n(x: Floats, groups: Groups) -> float:
    if groups is None:
        return float(len(x))
    group = _group_index(groups, len(x))
    num_groups, n, p = int(group.max()) + 1, len(x), x.mean()
    if num_groups < 2 or p in (0.0, 1.0):
        return float(num_groups)
    residual = np.bincount(group, x - p)
    design_effect = num_groups / (num_groups - 1) * (residual @ residual) / (n * p * (1.0 - p))
    return float(n / max(design_effect, 1.0))


def _wilson(p: float, n: float) -> tuple[float, float]:
    centre = p + Z_95**2 / (2 * n)
    width = Z_95 * np.sqrt(p * (1 - p) / n + Z_95**2 / (4 * n * n))
    scale = 1 + Z_95**2 / n
    # At p = 0 and 1 the bound is 0 and 1 exactly; rounding must not say otherwise.
    low = 0.0 if p == 0.0 else float((centre - width) / scale)
    high = 1.0 if p == 1.0 else float((centre + width) / scale)
    return low, high


def _take(groups: Groups, rows: NDArray[np.bool_]) -> Groups:
    return None if groups is None else np.asarray(groups)[rows]


def sensitivity(y_true: ArrayLike, prediction: ArrayLike, groups: Groups = None) -> Measure:
    """Share of the positives that are predicted positive; n is the number of positives."""
    positive, reason = _binary(y_true)
    if reason:
        return Measure.not_measurable(reason, int(positive.sum()))
    return proportion(np.asarray(prediction, np.bool_)[positive], _take(groups, positive))


def specificity(y_true: ArrayLike, prediction: ArrayLike, groups: Groups = None) -> Measure:
    """Share of the negatives that are predicted negative; n is the number of negatives."""
    positive, reason = _binary(y_true)
    if reason:
        return Measure.not_measurable(reason, int((~positive).sum()))
    return proportion(~np.asarray(prediction, np.bool_)[~positive], _take(groups, ~positive))


def f1(y_true: ArrayLike, prediction: ArrayLike, groups: Groups = None) -> Measure:
    """Harmonic mean of sensitivity and positive predictive value."""
    positive, reason = _binary(y_true)
    n = len(positive)
    if reason:
        return Measure.not_measurable(reason, n)
    predicted = np.asarray(prediction, np.bool_)
    counted = positive | predicted
    hit = (positive & predicted)[counted].astype(np.float64)
    low, high = _wilson(float(hit.mean()), _effective_n(hit, _take(groups, counted)))
    value, low, high = (2.0 * j / (1.0 + j) for j in (float(hit.mean()), low, high))
    return Measure(value, low, high, n)


def _resample_weights(num_groups: int, rows_per_block: int) -> Iterator[Floats]:
    """How often each group was drawn in each of `NUM_RESAMPLES` bootstrap samples, in blocks (R, G) of bounded size."""
    rng = np.random.default_rng(SEED)
    block = max(1, min(NUM_RESAMPLES, BLOCK_NUMBERS // max(rows_per_block, num_groups)))
    for start in range(0, NUM_RESAMPLES, block):
        size = min(block, NUM_RESAMPLES - start)
        drawn = rng.integers(0, num_groups, (size, num_groups)) + np.arange(size)[:, None] * num_groups
        yield np.bincount(drawn.ravel(), minlength=size * num_groups).reshape(size, num_groups).astype(np.float64)


def _bootstrap(statistic: Callable[[Floats], Floats], num_groups: int, rows_per_block: int = 1) -> Floats:
    """`statistic` of each bootstrap sample, from weights (R, G) to values (R,), NaN where it does not exist."""
    return np.concatenate([statistic(w_RG) for w_RG in _resample_weights(num_groups, rows_per_block)])


def _percentiles(values: Floats) -> tuple[float, float]:
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)


def average_precision(y_true: ArrayLike, score: ArrayLike, groups: Groups = None) -> Measure:
    """Sum of (recall step) x precision over the thresholds, without interpolation; percentile bootstrap."""
    positive, reason = _binary(y_true)
    n = len(positive)
    if reason:
        return Measure.not_measurable(reason, n)
    s = np.asarray(score, np.float64)
    order = np.argsort(-s, kind="stable")
    group = _group_index(groups, n)[order]
    is_positive = positive[order].astype(np.float64)
    last_of_tie = np.flatnonzero(np.r_[np.diff(s[order]) != 0, True])

    def statistic(w_RG: Floats) -> Floats:
        w_RN = w_RG[:, group]
        hits = np.cumsum(w_RN * is_positive, axis=1)[:, last_of_tie]
        taken = np.cumsum(w_RN, axis=1)[:, last_of_tie]
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(taken > 0, hits / taken, 0.0)
            return np.asarray((np.diff(hits, axis=1, prepend=0.0) * precision).sum(axis=1) / hits[:, -1])

    num_groups = int(group.max()) + 1
    value = float(statistic(np.ones((1, num_groups)))[0])
    return Measure(value, *_percentiles(_bootstrap(statistic, num_groups, n)), n)


def _group_sums(group: NDArray[np.int64], cell: NDArray[np.int64], weight: Floats, num_cells: int) -> Floats:
    """Sum of `weight` per group and cell, (G, num_cells)."""
    num_groups = int(group.max()) + 1
    sums = np.bincount(group * num_cells + cell, weight, num_groups * num_cells)
    return np.asarray(sums, np.float64).reshape(num_groups, num_cells)


def ece(y_true: ArrayLike, probability: ArrayLike, num_bins: int = 10, groups: Groups = None) -> Measure:
    """Expected calibration error over `num_bins` equal bins of [0, 1]: mean |mean probability - share of positives|.

    The interval is the estimate +- 1.96 bootstrap standard deviations: resampling biases this measure upwards, so that
    percentiles would miss their own estimate.
    """
    positive, reason = _binary(y_true)
    n = len(positive)
    if reason:
        return Measure.not_measurable(reason, n)
    p = np.asarray(probability, np.float64)
    if p.min() < 0.0 or p.max() > 1.0:
        raise ValueError("probabilities must lie in [0, 1]")
    group = _group_index(groups, n)
    cell = np.minimum((p * num_bins).astype(np.int64), num_bins - 1)
    gaps_GC = _group_sums(group, cell, p - positive, num_bins)
    counts_G = np.bincount(group).astype(np.float64)

    def statistic(w_RG: Floats) -> Floats:
        return np.asarray(np.abs(w_RG @ gaps_GC).sum(axis=1) / (w_RG @ counts_G))

    value = float(statistic(np.ones((1, len(counts_G))))[0])
    width = Z_95 * float(_bootstrap(statistic, len(counts_G)).std(ddof=1))
    return Measure(value, max(0.0, value - width), min(1.0, value + width), n)


def quadratic_kappa(y_true: ArrayLike, prediction: ArrayLike, num_grades: int = 5, groups: Groups = None) -> Measure:
    """Cohen's kappa with quadratic weights for grades 0 … num_grades - 1; percentile bootstrap."""
    y, predicted = np.asarray(y_true, np.int64), np.asarray(prediction, np.int64)
    n = len(y)
    for grades in (y, predicted):
        if n and (grades.min() < 0 or grades.max() >= num_grades):
            raise ValueError(f"grades must lie in 0 … {num_grades - 1}")
    if len(np.unique(y)) < 2:
        return Measure.not_measurable("needs at least two different grades", n)
    group = _group_index(groups, n)
    confusion_GC = _group_sums(group, y * num_grades + predicted, np.ones(n), num_grades**2)
    grade = np.arange(num_grades)
    cost = (grade[:, None] - grade[None, :]).astype(np.float64) ** 2

    def statistic(w_RG: Floats) -> Floats:
        observed = (w_RG @ confusion_GC).reshape(-1, num_grades, num_grades)
        expected = observed.sum(2)[:, :, None] * observed.sum(1)[:, None, :] / observed.sum((1, 2))[:, None, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(1.0 - (cost * observed).sum((1, 2)) / (cost * expected).sum((1, 2)))

    value = float(statistic(np.ones((1, len(confusion_GC))))[0])
    return Measure(value, *_percentiles(_bootstrap(statistic, len(confusion_GC))), n)
