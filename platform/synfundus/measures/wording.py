"""The wording of measures for people, in the report, on the dataset card and on the screen."""

from synfundus.measures.measure import Measure

RESEARCH_ONLY = "Research use only. Not a medical device."
NOT_MEASURABLE = "not measurable"


def format_number(value: float) -> str:
    """Return a number for a table: three decimals below 10, fewer above, significant digits below 0.01."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 0.01 or size == 0:
        return f"{value:.3f}"
    return f"{value:.2g}"


def format_measure(measure: Measure) -> str:
    """Return `0.912 (0.880 to 0.940)`, or `not measurable`."""
    if not measure.measurable:
        return NOT_MEASURABLE
    value, low, high = map(format_number, measure.interval)
    return f"{value} ({low} to {high})"
