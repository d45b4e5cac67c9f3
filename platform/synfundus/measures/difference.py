"""A difference of two metrics with its interval and P value, as it is stored; the difference of independent metrics."""

from typing import TYPE_CHECKING

import numpy as np
from pydantic import model_validator

from synfundus.measures.measure import Measure
from synfundus.metadata import Metadata

if TYPE_CHECKING:  # imports scipy, which every command would pay
    from synfundus.measures.crossed import CrossedMean


class Difference(Metadata):
    """First minus second, with everything that a test of it needs."""

    measure: Measure
    """Difference with its 95 % interval and n, or the reason why there is none."""
    p_value: float | None = None
    """Two-sided P value of "no difference", not corrected for other comparisons; null if not measurable."""
    standard_error: float | None = None
    """Standard error of the difference; null if not measurable."""
    patient_freedom: float | None = None
    """Degrees of freedom of the variance between patients; null if not measurable."""
    seed_freedom: float | None = None
    """Degrees of freedom of the variance between training seeds; null if there is one seed or none."""
    seed_share: float | None = None
    """Share of the variance that lies between training seeds, 0 to 1; null if not measurable."""
    num_patients: int
    """Patients that carry the estimate: for an AUC, those of the smaller class."""

    @classmethod
    def not_measurable(cls, reason: str, n: int, num_patients: int = 0) -> "Difference":
        """Return the reason why n images give no difference."""
        return cls(measure=Measure.not_measurable(reason, n), num_patients=num_patients)

    @classmethod
    def tested(cls, measure: Measure, mean: "CrossedMean", p_value: float, num_patients: int) -> "Difference":
        """Return a measured difference whose test has the standard error and the quantiles of `mean`."""
        return cls(
            measure=measure,
            p_value=p_value,
            standard_error=mean.standard_error,
            patient_freedom=mean.patient_freedom,
            seed_freedom=None if np.isinf(mean.seed_freedom) else mean.seed_freedom,
            seed_share=mean.seed_share,
            num_patients=num_patients,
        )

    @property
    def measurable(self) -> bool:
        return self.measure.measurable

    @property
    def mean(self) -> "CrossedMean | None":
        """Mean over seeds with the quantiles of the test; None if not measurable."""
        if self.standard_error is None or self.patient_freedom is None or self.seed_share is None:
            return None
        from synfundus.measures.crossed import CrossedMean

        seed_freedom = np.inf if self.seed_freedom is None else self.seed_freedom
        value = self.measure.interval[0]
        return CrossedMean(value, self.standard_error, self.patient_freedom, seed_freedom, self.seed_share)

    @model_validator(mode="after")
    def _require_all_or_none(self) -> "Difference":
        numbers = (self.p_value, self.standard_error, self.patient_freedom, self.seed_share)
        if any((number is not None) != self.measurable for number in numbers):
            raise ValueError(
                "a measured difference has P value, standard error, degrees of freedom and share of the seeds, others"
                " none"
            )
        return self


def independent_difference(first: Measure, second: Measure) -> Measure:
    """Return the difference of two metrics of independent images, from their intervals; n is the smaller one.

    The method is MOVER (Zou & Donner 2008, doi 10.1002/sim.3095). For two shares with Wilson's intervals it is the
    method 10 of Newcombe 1998 (Stat. Med. 17:873).
    """
    n = min(first.n, second.n)
    for measure in (first, second):
        if not measure.measurable:
            return Measure.not_measurable(str(measure.reason), n)
    (a, a_low, a_high), (b, b_low, b_high) = first.interval, second.interval
    low = a - b - float(np.hypot(a - a_low, b_high - b))
    high = a - b + float(np.hypot(a_high - a, b - b_low))
    return Measure.measured(a - b, low, high, n)
