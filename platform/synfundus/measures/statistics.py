"""Statistics with a 95 % interval and their n: shares, F1, average precision, calibration error, kappa, ratios.

Images of one patient count as dependent if `groups` (patients) are given. Intervals:

- Shares: Wilson's, see `intervals`.
- F1: Wilson's interval of J = TP / (TP + FP + FN), because F1 = 2 J / (1 + J) is a monotone function of it.
- Average precision: standard error of a bootstrap of patients with a fixed seed, logit scale, Student's t.
- Kappa: percentiles of the same bootstrap.
- Calibration error: bootstrap of patients, with the upward bias of the estimate; see `calibration`.
- Ratio of two means: delta method on the log scale with the variance between patients, and Welch's t.

A statistic that the data cannot give is not measurable and has a reason, never a number. `roc` has the area under the
ROC curve.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from synfundus.measures.calibration import ece_interval, largest_bias
from synfundus.measures.inputs import Groups, binary_labels, group_index, select_groups
from synfundus.measures.intervals import Z_95, bootstrap, effective_n, logit_interval, percentile_interval, wilson
from synfundus.measures.measure import Measure
from synfundus.measures.performance import (
    average_precision_statistic,
    ece_statistic,
    quadratic_kappa_statistic,
    value_of,
)


def proportion(success: ArrayLike, groups: Groups = None) -> Measure:
    """Return the share of true values with Wilson's interval; with groups at the effective n of Rao & Scott."""
    x = np.asarray(success, np.float64)
    n = len(x)
    if n == 0:
        return Measure.not_measurable("no image", 0)
    p = float(x.mean())
    low, high = wilson(p, effective_n(x, groups))
    return Measure.measured(p, low, high, n)


def accuracy(y_true: ArrayLike, prediction: ArrayLike, groups: Groups = None) -> Measure:
    """Return the share of images whose prediction equals the label, of 0/1 labels or grades (n,)."""
    return proportion(np.asarray(y_true) == np.asarray(prediction), groups)


def precision(y_true: ArrayLike, prediction: ArrayLike, groups: Groups = None) -> Measure:
    """Return the share of true positives among the predicted positives; n is the number of predicted positives."""
    positive, reason = binary_labels(y_true)
    predicted = np.asarray(prediction, np.bool_)
    if reason is None and not predicted.any():
        reason = "no image is predicted positive"
    if reason:
        return Measure.not_measurable(reason, int(predicted.sum()))
    return proportion(positive[predicted], select_groups(groups, predicted))


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
    """Return the sum of (recall step) x precision over the thresholds, not interpolated.

    The interval has the bootstrap's standard error, on the logit scale, because percentiles cover too little of so
    skewed a distribution.
    """
    positive, reason = binary_labels(y_true)
    n = len(positive)
    if reason:
        return Measure.not_measurable(reason, n)
    group = group_index(groups, n)
    statistic, num_groups = average_precision_statistic(positive, score, group), int(group.max()) + 1
    num_positive = len(np.unique(group[positive]))
    if num_positive < 2:
        return Measure.not_measurable("fewer than 2 patients in the positive class", n)
    value = value_of(statistic, num_groups)
    if value == 1.0:
        return Measure.measured(value, *wilson(1.0, num_positive), n)
    error = float(np.nanstd(bootstrap(statistic, num_groups, n), ddof=1))
    error *= (num_positive / (num_positive - 1)) ** 0.5
    return Measure.measured(value, *logit_interval(value, error, float(stdtrit(num_positive - 1, 0.975))), n)


def ece(y_true: ArrayLike, probability: ArrayLike, groups: Groups = None) -> Measure:
    """Return the expected calibration error over ten equal bins of [0, 1]: mean |probability - share of positives|.

    The estimate is biased upwards, and more so the fewer images there are. The interval takes that into account, so it
    reaches further down than up, and to 0 if the probabilities may be calibrated. See `calibration`.
    """
    positive, reason = binary_labels(y_true)
    n = len(positive)
    if reason:
        return Measure.not_measurable(reason, n)
    group = group_index(groups, n)
    statistic, num_groups = ece_statistic(positive, probability, group), int(group.max()) + 1
    value, standard_error = value_of(statistic, num_groups), float(bootstrap(statistic, num_groups).std(ddof=1))
    low, high = ece_interval(value, standard_error, largest_bias(positive, probability, group), Z_95)
    return Measure.measured(value, low, high, n)


def quadratic_kappa(y_true: ArrayLike, prediction: ArrayLike, groups: Groups = None) -> Measure:
    """Return Cohen's kappa with quadratic weights for the DR grades 0 to 4; percentile bootstrap.

    If all images agree, no bootstrap sample has an error, and the lower bound is Wilson's of a share of 1.
    """
    n = len(np.asarray(y_true))
    group = group_index(groups, n)
    if len(np.unique(np.asarray(y_true))) < 2:
        return Measure.not_measurable("needs at least two different grades", n)
    statistic, num_groups = quadratic_kappa_statistic(y_true, prediction, group), int(group.max()) + 1
    value = value_of(statistic, num_groups)
    bounds = wilson(1.0, num_groups) if value == 1.0 else percentile_interval(bootstrap(statistic, num_groups))
    return Measure.measured(value, *bounds, n)


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
