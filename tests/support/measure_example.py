"""Measures with intervals of a given width, and labels that the annotator of the examples cannot predict."""

from synfundus.measures.measure import Measure

UNUSABLE = ("is_htr", "is_em")
"""Labels that the annotator cannot predict."""
UNUSABLE_REASON = "the annotator cannot predict this label"


def measure(value: float, half_width: float, n: int) -> Measure:
    """Return a measure whose interval does not go below 0."""
    return Measure.measured(value, max(0.0, value - half_width), value + half_width, n)


def measure_around(value: float, half_width: float, n: int) -> Measure:
    """Return a measure that may be negative."""
    return Measure.measured(value, value - half_width, value + half_width, n)
