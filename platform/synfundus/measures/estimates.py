"""A metric of several networks on the same images, and the paired difference of two arms that follows from it."""

from dataclasses import dataclass, replace

import numpy as np

from synfundus.measures.auc_difference import joined_difference
from synfundus.measures.crossed import NO_VARIANCE, CrossedMean, crossed_mean
from synfundus.measures.difference import Difference, independent_difference
from synfundus.measures.inputs import Floats
from synfundus.measures.measure import Measure


@dataclass(frozen=True)
class Estimates:
    """A metric of T networks on the same images, with its covariance over patients.

    Of two arms with S seeds each, the first S networks are those of the first arm.
    """

    values_T: Floats
    covariance_TT: Floats
    num_patients: int
    """Patients that carry the covariance."""

    def mean(self) -> CrossedMean:
        """Return the mean over the networks of one arm."""
        return crossed_mean(self.values_T, self.covariance_TT, self.num_patients)

    def arms(self) -> tuple["Estimates", "Estimates"]:
        """Return the estimates of each of two arms."""
        half = len(self.values_T) // 2
        first, second = (
            Estimates(self.values_T[part], self.covariance_TT[part, part], self.num_patients)
            for part in (slice(0, half), slice(half, None))
        )
        return first, second

    def difference(self) -> CrossedMean:
        """Return the mean over the seeds of (first arm - second arm)."""
        half = len(self.values_T) // 2
        contrast = np.hstack([np.eye(half), -np.eye(half)])
        return crossed_mean(contrast @ self.values_T, contrast @ self.covariance_TT @ contrast.T, self.num_patients)


def difference_of_estimates(estimates: Estimates, n: int, *, is_auc: bool) -> Difference:
    """Return the difference of two arms on n images; interval and P value of AUCs are those of `auc_difference`."""
    mean = estimates.difference()
    width = mean.quantile * mean.standard_error
    low, high, p_value = mean.value - width, mean.value + width, mean.p_value
    if is_auc:
        first, second = (arm.mean() for arm in estimates.arms())
        low, high, p_value = joined_difference(first, second, mean) or (low, high, p_value)
    return Difference.tested(Measure.measured(mean.value, low, high, n), mean, p_value, estimates.num_patients)


def difference_without_variance(first: Measure, second: Measure, num_patients: int) -> Difference:
    """Return the difference of arms that are both perfect, both constant, or equal on every image.

    No patient tells how sure it is, and others may tell the arms apart. Its interval is that of independent arms, whose
    own intervals have a width, and so is not too short. The P value is that of Student's t whose 95 % interval ends at
    the same place on the side of 0.
    """
    measure = independent_difference(first, second)
    if not measure.measurable:
        return Difference.not_measurable(str(measure.reason), measure.n, num_patients)
    value, low, high = measure.interval
    nearer = value - low if value > 0.0 else high - value
    if nearer <= NO_VARIANCE:
        return Difference.not_measurable("neither arm's value has an interval", measure.n, num_patients)
    unit = CrossedMean(value, 1.0, num_patients - 1.0)
    mean = replace(unit, standard_error=nearer / unit.quantile)
    return Difference.tested(measure, mean, mean.p_value, num_patients)
