"""A measured number with its interval, as it is stored in every `metrics.json`."""

from typing import Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from synfundus.metadata import Metadata


class Measure(Metadata):
    """A number with its 95 % interval and the n behind it, or the reason why there is none.

    In JSON, `{"status": "measured", value, low, high, n}` or `{"status": "not measurable", reason, n}`.
    """

    status: Literal["measured", "not measurable"]
    value: float | None = None
    """The estimate; null if not measurable."""
    low: float | None = None
    """Lower bound of the 95 % interval."""
    high: float | None = None
    """Upper bound of the 95 % interval."""
    n: int
    """Number of images (of positives for a sensitivity, of negatives for a specificity) behind the estimate."""
    reason: str | None = None
    """Why there is no estimate; null if there is one."""

    @classmethod
    def measured(cls, value: float, low: float, high: float, n: int) -> "Measure":
        """Return an estimate with its interval."""
        return cls(status="measured", value=value, low=low, high=high, n=n)

    @classmethod
    def not_measurable(cls, reason: str, n: int) -> "Measure":
        """Return the reason why n images give no estimate."""
        return cls(status="not measurable", reason=reason, n=n)

    @property
    def measurable(self) -> bool:
        return self.status == "measured"

    @property
    def interval(self) -> tuple[float, float, float]:
        """`(value, low, high)` of a measurable one.

        Raises:
            ValueError: not measurable.
        """
        if self.value is None or self.low is None or self.high is None:
            raise ValueError(f"not measurable: {self.reason}")
        return self.value, self.low, self.high

    @model_validator(mode="after")
    def _require_numbers_or_reason(self) -> "Measure":
        numbers = (self.value, self.low, self.high)
        if self.measurable and (None in numbers or self.reason is not None):
            raise ValueError("a measured number has value, low and high, and no reason")
        if not self.measurable and (any(number is not None for number in numbers) or self.reason is None):
            raise ValueError("a measure that is not measurable has a reason and no number")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_null(self, serialize: SerializerFunctionWrapHandler) -> dict[str, str | float | int]:
        return {key: value for key, value in serialize(self).items() if value is not None}
