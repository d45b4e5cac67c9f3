"""Positive predictive value at a stated prevalence, which need not be that of the measured images.

PPV = p se / (p se + (1 - p)(1 - sp)) with the prevalence p. The interval is the logit interval of Mercaldo, Lau & Zhou
(2007, doi 10.1002/sim.2677): logit PPV = logit p + log(se / (1 - sp)), and the two classes are independent. Half an
image is added to each count (Walter 1975, doi 10.1093/biomet/62.2.371), so the interval exists without a false alarm.
Each class has the effective n of its images.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from synfundus.measures.inputs import Groups, binary_labels, select_groups
from synfundus.measures.intervals import Z_95, effective_n
from synfundus.measures.measure import Measure


def predictive_value(sensitivity: float, specificity: float, prevalence: float) -> float:
    """Return the positive predictive value, in [0, 1]; NaN if nothing is predicted positive."""
    hits, false_alarms = prevalence * sensitivity, (1.0 - prevalence) * (1.0 - specificity)
    return hits / (hits + false_alarms) if hits + false_alarms > 0.0 else float("nan")


def positive_predictive_value(
    y_true: ArrayLike, prediction: ArrayLike, prevalence: float, groups: Groups = None
) -> Measure:
    """Return the share of true positives among the predicted positives at `prevalence`, in (0, 1).

    Args:
        y_true: 0/1 labels (n,).
        prediction: 0/1 predictions (n,).
        prevalence: share of positives among the images to which the value shall apply.
        groups: patient of each image.
    """
    positive, reason = binary_labels(y_true)
    n = len(positive)
    if reason:
        return Measure.not_measurable(reason, n)
    predicted = np.asarray(prediction, np.float64)
    if not predicted.any():
        return Measure.not_measurable("no image is predicted positive", n)
    hit_rate, alarm_rate = float(predicted[positive].mean()), float(predicted[~positive].mean())
    value = predictive_value(hit_rate, 1.0 - alarm_rate, prevalence)
    centre, variance = float(logit(prevalence)), 0.0
    for rate, of_class, sign in ((hit_rate, positive, 1.0), (alarm_rate, ~positive, -1.0)):
        size = effective_n(predicted[of_class], select_groups(groups, of_class))
        count, total = size * rate + 0.5, size + 0.5
        centre += sign * float(np.log(count / total))
        variance += 1.0 / count - 1.0 / total
    width = Z_95 * float(np.sqrt(variance))
    low, high = float(expit(centre - width)), float(expit(centre + width))
    return Measure.measured(value, min(low, value), max(high, value), n)
