"""How measures are worded for people: in the report and on the dataset card."""

from collections.abc import Mapping
from typing import Any

RESEARCH_ONLY = "Research use only. Not a medical device."
NOT_MEASURABLE = "not measurable"


def format_number(value: float) -> str:
    """A number as a table shows it: three decimals below 10, fewer above, significant digits when tiny."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 0.01 or size == 0:
        return f"{value:.3f}"
    return f"{value:.2g}"


def is_measured(measure: Mapping[str, Any] | None) -> bool:
    return measure is not None and measure.get("status") == "measured"


def format_measure(measure: Mapping[str, Any] | None) -> str:
    """`0.912 (0.880 to 0.940)`, or `not measurable`. `measure` is an entry of metrics.json."""
    if measure is None or not is_measured(measure):
        return NOT_MEASURABLE
    value, low, high = (measure.get(key) for key in ("value", "low", "high"))
    if low is None or high is None:
        return format_number(float(value or 0.0))
    return f"{format_number(float(value or 0.0))} ({format_number(low)} to {format_number(high)})"
