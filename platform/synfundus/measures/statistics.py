"""Statistics with a 95 % interval and their n: shares, F1, average precision, calibration error, kappa, ratios.

Images of one patient count as dependent if `groups` (patients) are given. Intervals:

- Shares: Wilson's, see `intervals`.
- F1: Wilson's interval of J = TP / (TP + FP + FN), because F1 = 2 J / (1 + J) is a monotone function of it.
- Average precision, calibration error and kappa: bootstrap of patients with a fixed seed.
- Ratio of two means: delta method on the log scale with the variance between patients, and Welch's t.

A statistic that the data cannot give is not measurable and has a reason, never a number. `roc` has the area under the
ROC curve.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from synfundus.labels import NUM_DR_GRADES
from synfundus.measures.inputs import Floats, Groups, binary_labels, group_index, select_groups
from synfundus.measures.intervals import Z_95, bootstrap, effective_n, percentile_interval, wilson
from synfundus.measures.measure import Measure

CALIBRATION_BINS = 10


def proportion(success: ArrayLike, groups: Groups = None) -> Measure:
    """Return the share of true values with Wilson's interval; with groups at the effective n of Rao & Scott."""
    x = np.asarray(success, np.float64)
    n = len(x)
    if n == 0:
        return Measure.not_measurable("no image", 0)
    p = float(x.mean())
    low, high = wilson(p, effective_n(x, groups))
    return Measure.measured(p, low, high, n)


def sensitivity(y_true: ArrayLike, prediction: ArrayLike, groups: Groups = None) -> Measure:
    """Return the share of the positives that are predicted positive; n is the number of positives."""
    positive, reason = binary_labels(y_true)
    if reason:
        return Measure.not_measurable(reason, int(positive.sum()))
    return proportion(np.asarray(prediction, np.bool_)[positive], select_groups(groups, positive))


def specificity(y_true: ArrayLike, prediction: ArrayLike, groups: Groups = None) -> Measure:
    """Return the share of the negatives that are predicted negative; n is the number of negatives."""
    positive, reason = binary_labels(y_true)
    if reason:
        return Measure.not_measurable(reason, int((~positive).sum()))
    return proportion(~np.asarray(prediction, np.bool_)[~positive], select_groups(groups, ~positive))


def f1(y_true: ArrayLike, prediction: ArrayLike, groups: Groups = None) -> Measure:
    """Return the harmonic mean of sensitivity and positive predictive value."""
    positive, reason = binary_labels(y_true)
    n = len(positive)
    if reason:
        return Measure.not_measurable(reason, n)
    predicted = np.asarray(prediction, np.bool_)
    counted = positive | predicted
    hit = (positive & predicted)[counted].astype(np.float64)
    low, high = wilson(float(hit.mean()), effective_n(hit, select_groups(groups, counted)))
    value, low, high = (2.0 * j / (1.0 + j) for j in (float(hit.mean()), low, high))
    return Measure.measured(value, low, high, n)


def average_precision(y_true: ArrayLike, score: ArrayLike, groups: Groups = None) -> Measure:
    """Return the sum of (recall step) x precision over the thresholds, not interpolated; percentile bootstrap."""
    positive, reason = binary_labels(y_true)
    n = len(positive)
    if reason:
        return Measure.not_measurable(reason, n)
    s = np.asarray(score, np.float64)
    order = np.argsort(-s, kind="stable")
    group = group_index(groups, n)[order]
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
    return Measure.measured(value, *percentile_interval(bootstrap(statistic, num_groups, n)), n)


def _group_sums(group: NDArray[np.int64], cell: NDArray[np.int64], weight: Floats, num_cells: int) -> Floats:
    """Return the sum of `weight` in each cell of each group, (G, num_cells)."""
    num_groups = int(group.max()) + 1
    sums = np.bincount(group * num_cells + cell, weight, num_groups * num_cells)
    return np.asarray(sums, np.float64).reshape(num_groups, num_cells)


def ece(y_true: ArrayLike, probability: ArrayLike, groups: Groups = None) -> Measure:
    """Return the expected calibration error over ten equal bins of [0, 1].

    It is the mean of |mean probability - share of positives|. The interval is the estimate +- 1.96 bootstrap standard
    deviations: resampling biases this measure upwards, so percentiles would miss the estimate itself.
    """
    positive, reason = binary_labels(y_true)
    n = len(positive)
    if reason:
        return Measure.not_measurable(reason, n)
    p = np.asarray(probability, np.float64)
    if p.min() < 0.0 or p.max() > 1.0:
        raise ValueError("probabilities must lie in [0, 1]")
    group = group_index(groups, n)
    cell = np.minimum((p * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps_GC = _group_sums(group, cell, p - positive, CALIBRATION_BINS)
    counts_G = np.bincount(group).astype(np.float64)

    def statistic(w_RG: Floats) -> Floats:
        return np.asarray(np.abs(w_RG @ gaps_GC).sum(axis=1) / (w_RG @ counts_G))

    value = float(statistic(np.ones((1, len(counts_G))))[0])
    width = Z_95 * float(bootstrap(statistic, len(counts_G)).std(ddof=1))
    return Measure.measured(value, max(0.0, value - width), min(1.0, value + width), n)


def quadratic_kappa(y_true: ArrayLike, prediction: ArrayLike, groups: Groups = None) -> Measure:
    """Return Cohen's kappa with quadratic weights for the DR grades 0 to 4; percentile bootstrap."""
    y, predicted = np.asarray(y_true, np.int64), np.asarray(prediction, np.int64)
    n = len(y)
    for grades in (y, predicted):
        if n and (grades.min() < 0 or grades.max() >= NUM_DR_GRADES):
            raise ValueError(f"grades must lie in 0 … {NUM_DR_GRADES - 1}")
    if len(np.unique(y)) < 2:
        return Measure.not_measurable("needs at least two different grades", n)
    group = group_index(groups, n)
    confusion_GC = _group_sums(group, y * NUM_DR_GRADES + predicted, np.ones(n), NUM_DR_GRADES**2)
    grade = np.arange(NUM_DR_GRADES)
    cost = (grade[:, None] - grade[None, :]).astype(np.float64) ** 2

    def statistic(w_RG: Floats) -> Floats:
        observed = (w_RG @ confusion_GC).reshape(-1, NUM_DR_GRADES, NUM_DR_GRADES)
        expected = observed.sum(2)[:, :, None] * observed.sum(1)[:, None, :] / observed.sum((1, 2))[:, None, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(1.0 - (cost * observed).sum((1, 2)) / (cost * expected).sum((1, 2)))

    value = float(statistic(np.ones((1, len(confusion_GC))))[0])
    return Measure.measured(value, *percentile_interval(bootstrap(statistic, len(confusion_GC))), n)


def ratio_of_means(
    numerator: ArrayLike, denominator: ArrayLike, groups: Groups = None, denominator_groups: Groups = None
) -> Measure:
    """Return mean(numerator) / mean(denominator) of two independent sets of values >= 0; n is that of the smaller set.

    The interval is exp(log ratio +- t s). s^2 is the sum of both squared coefficients of variation of the mean, between
    groups; t has Welch and Satterthwaite's degrees of freedom (Welch 1947, doi 10.2307/2332510).
    """
    x, y = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    n = min(len(x), len(y))
    sizes = [len(np.unique(group_index(of, len(values)))) for values, of in ((x, groups), (y, denominator_groups))]
    if min(sizes) < 2:
        return Measure.not_measurable(f"{min(sizes)} patients; needs 2 of each set", n)
    if min(x.mean(), y.mean()) <= 0.0:
        return Measure.not_measurable("a mean is 0", n)
    squares = [
        size
        / (size - 1)
        * float(np.sum(np.bincount(group_index(of, len(values)), values / values.mean() - 1.0) ** 2))
        / len(values) ** 2
        for values, of, size in ((x, groups, sizes[0]), (y, denominator_groups, sizes[1]))
    ]
    ratio, variance = float(x.mean() / y.mean()), sum(squares)
    if variance == 0.0:
        return Measure.measured(ratio, ratio, ratio, n)
    freedom = variance**2 / sum(square**2 / (size - 1) for square, size in zip(squares, sizes, strict=True))
    width = float(stdtrit(freedom, 0.975)) * variance**0.5
    return Measure.measured(ratio, ratio * float(np.exp(-width)), ratio * float(np.exp(width)), n)
