"""The mean of a metric over training seeds, whose networks all predict the same patients.

Patients and seeds are two crossed samples: other patients would give another value, and so would other seeds. This is
the design of a multi-reader study, with trained networks as readers, and the variance is that of its standard analysis:
Obuchowski & Rockette 1995 (doi 10.1080/03610919508813243). The conclusion holds for new patients and for networks of
new seeds. With one seed it holds for new patients only.

The quantile is Cochran and Cox's (Experimental Designs, 1950): those of Student's t for both parts of the variance,
weighted by the parts. Satterthwaite's degrees of freedom, which Hillis 2007 (doi 10.1002/sim.2532) proposes, follow
the estimated parts. Where three seeds happen to agree, they are too large: 95 % intervals then cover 92 %, and P values
below 0.004 come up to six times too often. Cochran and Cox's intervals cover 95 to 97 % if the covariance is known.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from synfundus.measures.inputs import Floats

NO_VARIANCE = 1e-9
"""Standard error up to which the patients give a number no variance."""
SMALLEST_TAIL = 1e-200
"""Probability above a quantile down to which a P value is searched."""
MOST_FREEDOM = 1e9
"""Degrees of freedom from which on Student's t is normal to rounding."""


@dataclass(frozen=True)
class CrossedMean:
    """Mean over seeds with its standard error for new patients and new seeds."""

    value: float
    standard_error: float
    patient_freedom: float
    """Degrees of freedom of the variance between patients."""
    seed_freedom: float = np.inf
    """Degrees of freedom of the variance between seeds."""
    seed_share: float = 0.0
    """Share of the variance that lies between seeds, 0 to 1; 0 with one seed."""

    @property
    def quantile(self) -> float:
        """Two-sided 95 % quantile."""
        return self._quantile(0.025)

    @property
    def logit_quantile(self) -> float:
        """Quantile up to which the interval of a share or an AUC is one on the logit scale; infinite with one seed.

        It is the 95 % quantile for new patients alone. See `intervals.stretched_logit_interval`.
        """
        return float("inf") if self.seed_share == 0.0 else float(-stdtrit(self.patient_freedom, 0.025))

    def freedom_at(self, level: float) -> float:
        """Return the degrees of freedom of the Student's t that has the same quantile at a two-sided level.

        They depend on the level, because the quantiles of few degrees of freedom grow faster as the level falls.
        """
        fewest, most = sorted(min(freedom, MOST_FREEDOM) for freedom in (self.seed_freedom, self.patient_freedom))
        quantile = self._quantile(level / 2.0)

        def excess(freedom: float) -> float:
            return float(-stdtrit(freedom, level / 2.0)) - quantile

        # The ends are equal, or differ from the quantile by rounding alone, if one part has nearly all of the variance.
        if excess(fewest) <= 0.0:
            return fewest
        if excess(most) >= 0.0:
            return most
        from scipy.optimize import brentq  # takes a second to import, which each worker would pay when it starts

        return float(brentq(excess, fewest, most))

    @property
    def p_value(self) -> float:
        """Two-sided P value of the hypothesis that the mean is 0."""
        if self.standard_error == 0.0:
            return 1.0 if self.value == 0.0 else 0.0
        return self.p_of(abs(self.value) / self.standard_error)

    def p_of(self, quantile: float) -> float:
        """Return the two-sided P value at a quantile >= 0."""
        if self.seed_share == 0.0:
            return float(2.0 * stdtr(self.patient_freedom, -quantile))
        from scipy.optimize import brentq

        if quantile >= self._quantile(SMALLEST_TAIL):
            return 2.0 * SMALLEST_TAIL
        log_tail = brentq(lambda x: self._quantile(float(np.exp(x))) - quantile, np.log(SMALLEST_TAIL), np.log(0.5))
        return float(2.0 * np.exp(log_tail))

    def _quantile(self, tail: float) -> float:
        """Return the quantile with this probability above it."""
        of_seeds, of_patients = -stdtrit(np.array([self.seed_freedom, self.patient_freedom]), tail)
        return float(self.seed_share * of_seeds + (1.0 - self.seed_share) * of_patients)


def crossed_mean(values_S: Floats, covariance_SS: Floats, num_patients: int) -> CrossedMean:
    """Return the mean over seeds.

    The variance is s^2 / S + c. s^2 is the variance between seeds, which holds the noise of patients that the seeds do
    not share, and c is the mean covariance of two seeds, the noise of patients that they share. The first part has
    S - 1 degrees of freedom, the second `num_patients` - 1. A few seeds may agree by chance, so the variance is at
    least that of these networks for new patients alone.

    Args:
        values_S: metric, or difference of two metrics, of each seed.
        covariance_SS: covariance of the values over patients.
        num_patients: patients that carry the covariance.
    """
    num_seeds, patient_freedom = len(values_S), num_patients - 1.0
    if num_seeds == 1:
        return CrossedMean(float(values_S[0]), float(np.sqrt(covariance_SS[0, 0])), patient_freedom)
    between = float(values_S.var(ddof=1)) / num_seeds
    shared = max(float(covariance_SS.sum() - np.trace(covariance_SS)) / (num_seeds * (num_seeds - 1)), 0.0)
    variance = max(between + shared, float(covariance_SS.mean()))
    share = between / variance if variance > 0.0 else 0.0
    return CrossedMean(float(values_S.mean()), float(np.sqrt(variance)), patient_freedom, num_seeds - 1.0, share)
