"""The mean of a metric over training seeds, whose networks all predict the same patients.

Patients and seeds are two crossed samples: other patients would give another value, and so would other seeds. This is
the design of a multi-reader study, with trained networks as readers, and its standard analysis is used: Obuchowski &
Rockette 1995 (doi 10.1080/03610919508813243) with the degrees of freedom of Hillis 2007 (doi 10.1002/sim.2532). The
conclusion holds for new patients and for networks of new seeds. With one seed it holds for new patients only.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from synfundus.measures.inputs import Floats


@dataclass(frozen=True)
class CrossedMean:
    """Mean over seeds with its standard error for new patients and new seeds."""

    value: float
    standard_error: float
    degrees_of_freedom: float
    """Infinite for many patients and no difference between seeds."""

    @property
    def quantile(self) -> float:
        """Two-sided 95 % quantile of Student's t."""
        return float(stdtrit(self.degrees_of_freedom, 0.975))

    @property
    def p_value(self) -> float:
        """Two-sided P value of the hypothesis that the mean is 0."""
        if self.standard_error == 0.0:
            return 1.0 if self.value == 0.0 else 0.0
        return float(2.0 * stdtr(self.degrees_of_freedom, -abs(self.value) / self.standard_error))


def crossed_mean(values_S: Floats, covariance_SS: Floats, num_patients: int) -> CrossedMean:
    """Return the mean over seeds.

    The variance is s^2 / S + c. s^2 is the variance between seeds, which holds the noise of patients that the seeds do
    not share, and c is the mean covariance of two seeds, the noise of patients that they share. The degrees of freedom
    are Satterthwaite's: S - 1 for the first part, and `num_patients` - 1 for the second, where Hillis has infinity. A
    few seeds may agree by chance, so the variance is at least that of these networks for new patients alone.

    Args:
        values_S: metric, or difference of two metrics, of each seed.
        covariance_SS: covariance of the values over patients.
        num_patients: patients that carry the covariance.
    """
    num_seeds = len(values_S)
    if num_seeds == 1:
        return CrossedMean(float(values_S[0]), float(np.sqrt(covariance_SS[0, 0])), num_patients - 1.0)
    between = float(values_S.var(ddof=1)) / num_seeds
    shared = max(float(covariance_SS.sum() - np.trace(covariance_SS)) / (num_seeds * (num_seeds - 1)), 0.0)
    variance = max(between + shared, float(covariance_SS.mean()))
    squares = between**2 / (num_seeds - 1) + shared**2 / (num_patients - 1)
    freedom = variance**2 / squares if squares > 0.0 else num_patients - 1.0
    return CrossedMean(float(values_S.mean()), float(np.sqrt(variance)), freedom)
