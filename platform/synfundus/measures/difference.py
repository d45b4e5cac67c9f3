"""A difference of two metrics with its interval and P value, as it is stored; the difference of independent metrics."""

import numpy as np
from pydantic import model_validator

from synfundus.measures.measure import Measure
from synfundus.metadata import Metadata


class Difference(Metadata):
    """First minus second, with everything that a test of it needs."""

    measure: Measure
    """Difference with its 95 % interval and n, or the reason why there is none."""
    p_value: float | None = None
    """Two-sided P value of "no difference", not corrected for other comparisons; null if not measurable."""
    standard_error: float | None = None
    """Standard error of the difference; null if not measurable."""
    degrees_of_freedom: float | None = None
    """Degrees of freedom of the Student's t that has the 95 % quantile of the interval; null if not measurable."""
    num_patients: int
    """Patients that carry the estimate: for an AUC, those of the smaller class."""

    @classmethod
    def not_measurable(cls, reason: str, n: int, num_patients: int = 0) -> "Difference":
        """Return the reason why n images give no difference."""
        return cls(measure=Measure.not_measurable(reason, n), num_patients=num_patients)

    @property
    def measurable(self) -> bool:
        return self.measure.measurable

    @model_validator(mode="after")
    def _require_all_or_none(self) -> "Difference":
        numbers = (self.p_value, self.standard_error, self.degrees_of_freedom)
        if any((number is not None) != self.measurable for number in numbers):
            raise ValueError("a measured difference has P value, standard error and degrees of freedom, others none")
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
