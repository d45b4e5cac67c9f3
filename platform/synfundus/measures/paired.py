"""Metrics of networks that predict the same images: means over training seeds, and paired differences of two arms.

Both arms predict the same images, so what makes an image hard is in both and cancels in the difference. The covariance
over patients is DeLong's with Obuchowski's for several images of a patient (AUC; see `roc`), or that of a bootstrap of
whole patients, which draws the same patients for both arms. `crossed` adds the variance between training seeds.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synfundus.measures import performance, statistics
from synfundus.measures.calibration import ece_interval, largest_bias
from synfundus.measures.crossed import NO_VARIANCE
from synfundus.measures.difference import Difference
from synfundus.measures.estimates import (
    Estimates,
    difference_of_estimates,
    difference_without_variance,
)
from synfundus.measures.inputs import Floats, Groups, binary_labels, group_index
from synfundus.measures.intervals import bootstrap, stretched_logit_interval
from synfundus.measures.measure import Measure
from synfundus.measures.metric_names import MetricName
from synfundus.measures.performance import Statistic
from synfundus.measures.roc import auc, auc_covariance

SINGLE: dict[MetricName, Callable[[ArrayLike, ArrayLike, Groups], Measure]] = {
    "auc": auc,
    "average_precision": statistics.average_precision,
    "accuracy": statistics.accuracy,
    "precision": statistics.precision,
    "recall": statistics.sensitivity,
    "f1": statistics.f1,
    "quadratic_kappa": statistics.quadratic_kappa,
    "ece": statistics.ece,
}
"""Function of each metric for the predictions of one network."""

STATISTICS: dict[MetricName, Callable[[ArrayLike, ArrayLike, NDArray[np.int64]], Statistic]] = {
    "average_precision": performance.average_precision_statistic,
    "accuracy": performance.accuracy_statistic,
    "precision": performance.precision_statistic,
    "recall": performance.recall_statistic,
    "f1": performance.f1_statistic,
    "quadratic_kappa": performance.quadratic_kappa_statistic,
    "ece": performance.ece_statistic,
}
"""Every metric but the AUC, as a function of the patients' weights."""


def seed_mean(metric: MetricName, y_true: ArrayLike, predictions_SN: ArrayLike, groups: Groups = None) -> Measure:
    """Return the mean of a metric over S training seeds, with an interval for new patients and new seeds.

    Args:
        metric: name of the metric.
        y_true: labels (n,), 0/1; grades 0 to 4 for the kappa, and either for the accuracy.
        predictions_SN: prediction of each seed's network, (S, n) or (n,): scores for `auc` and `average_precision`,
            probabilities for `ece`, grades for the kappa, else 0/1.
        groups: patient of each image.

    With one seed the interval is that of the function in `roc` or `statistics`, and holds for new patients only.
    """
    predictions = _matrix(predictions_SN, y_true)
    first = SINGLE[metric](y_true, predictions[0], groups)
    n = predictions.shape[1]
    if len(predictions) == 1 or not first.measurable:
        return first
    estimates = _estimates(metric, y_true, predictions, groups)
    if isinstance(estimates, str):
        return Measure.not_measurable(estimates, n)
    mean = estimates.mean()
    if metric == "ece":
        group = group_index(groups, n)
        bias = float(np.mean([largest_bias(y_true, probability, group) for probability in predictions]))
        low, high = ece_interval(mean.value, mean.standard_error, bias, mean.quantile)
    elif mean.standard_error == 0.0 or mean.value in (0.0, 1.0):
        return first  # all seeds agree, so each has this value and its interval
    else:
        lower_end = -1.0 if metric == "quadratic_kappa" else 0.0
        low, high = stretched_logit_interval(
            mean.value, mean.standard_error, mean.quantile, mean.logit_quantile, lower_end
        )
    return Measure.measured(mean.value, low, high, n)


def paired_difference(
    metric: MetricName, y_true: ArrayLike, first_SN: ArrayLike, second_SN: ArrayLike, groups: Groups = None
) -> Difference:
    """Return the mean over S training seeds of (metric of the first arm - metric of the second arm).

    The seed s of both arms is one pair: a subset of patients or an order of training that depends on the seed cancels
    in the difference. Interval and P value belong together; those of an AUC are `auc_difference`'s, all others those of
    Student's t. See `seed_mean` for the arguments.
    """
    first, second = _matrix(first_SN, y_true), _matrix(second_SN, y_true)
    if first.shape != second.shape:
        raise ValueError(f"the arms have {len(first)} and {len(second)} seeds; compare the same seeds of both")
    n = first.shape[1]
    estimates = _estimates(metric, y_true, np.concatenate([first, second]), groups)
    if isinstance(estimates, str):
        return Difference.not_measurable(estimates, n)
    if estimates.difference().standard_error <= NO_VARIANCE:
        one, other = (seed_mean(metric, y_true, arm, groups) for arm in (first, second))
        return difference_without_variance(one, other, estimates.num_patients)
    return difference_of_estimates(estimates, n, is_auc=metric == "auc")


def _matrix(predictions: ArrayLike, y_true: ArrayLike) -> Floats:
    """Return predictions as (S, n)."""
    matrix, n = np.atleast_2d(np.asarray(predictions, np.float64)), len(np.asarray(y_true))
    if matrix.ndim != 2 or matrix.shape[1] != n:
        raise ValueError(f"predictions have the shape {matrix.shape}; needs (seeds, {n})")
    return matrix


def _estimates(metric: MetricName, y_true: ArrayLike, predictions_TN: Floats, groups: Groups) -> Estimates | str:
    """Return the metric of each row of predictions with its covariance, or the reason why there is none."""
    y = np.asarray(y_true)
    group = group_index(groups, len(y))
    if metric in ("accuracy", "quadratic_kappa"):
        reason = None if len(np.unique(y)) > 1 or metric == "accuracy" else "needs at least two different grades"
    else:
        reason = binary_labels(y)[1]
    if reason is None and metric == "precision" and not predictions_TN.any(axis=1).all():
        reason = "a network predicts no image positive"
    if reason is None and len(y) == 0:
        reason = "no image"
    if reason is not None:
        return reason
    num_patients = min(len(np.unique(group[rows])) for rows in _carrying_rows(metric, y, predictions_TN))
    if num_patients < 2:
        return f"{num_patients} patients carry the estimate; needs 2"
    if metric == "auc":
        return Estimates(*auc_covariance(y.astype(np.bool_), predictions_TN, group), num_patients)
    parts = [STATISTICS[metric](y, prediction, group) for prediction in predictions_TN]
    return _bootstrap_estimates(parts, group, num_patients)


def _carrying_rows(metric: MetricName, y: NDArray[np.generic], predictions_TN: Floats) -> list[NDArray[np.bool_]]:
    """Return sets of images, each of which must hold several patients for the metric to have a variance."""
    positive, predicted_TN = y.astype(np.bool_), predictions_TN.astype(np.bool_)
    if metric in ("auc", "average_precision"):
        return [positive, ~positive]
    if metric == "precision":
        return list(predicted_TN)
    if metric == "recall":
        return [positive]
    if metric == "f1":
        return [positive | predicted for predicted in predicted_TN]
    return [np.ones(len(y), np.bool_)]


def _bootstrap_estimates(parts: list[Statistic], group: NDArray[np.int64], num_patients: int) -> Estimates:
    """Return the values of some metrics and their covariance over bootstrap samples of patients."""
    num_groups = int(group.max()) + 1

    def all_parts(w_RG: Floats) -> Floats:
        return np.stack([statistic(w_RG) for statistic in parts], axis=1)

    drawn_RT = bootstrap(all_parts, num_groups, len(group))
    drawn_RT = drawn_RT[~np.isnan(drawn_RT).any(axis=1)]
    # A bootstrap of k patients has (k - 1) / k of the variance.
    covariance_TT = np.atleast_2d(np.cov(drawn_RT, rowvar=False)) * num_patients / (num_patients - 1)
    return Estimates(all_parts(np.ones((1, num_groups)))[0], covariance_TT, num_patients)
