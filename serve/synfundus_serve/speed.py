"""How fast a replica works at present, and when one that is full has room again."""

import math

LONGEST_RETRY_S = 600
SMOOTHING = 0.2


class BusyError(Exception):
    """The queue is full."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s
        """When there should be room again, at the present speed."""


class Speed:
    """Units of work a second, the latest ones counting most (exponential smoothing)."""

    def __init__(self) -> None:
        self._per_s = 0.0

    def note(self, amount: float, seconds: float) -> None:
        """So much was done in so long; nothing done says nothing of the speed."""
        if amount:
            now = amount / max(seconds, 1e-6)
            self._per_s += (SMOOTHING if self._per_s else 1.0) * (now - self._per_s)

    def seconds_for(self, amount: float) -> int:
        """Whole seconds, 1 to 600, that `amount` takes; 1 where no speed is known."""
        if not self._per_s:
            return 1
        return min(max(math.ceil(amount / self._per_s), 1), LONGEST_RETRY_S)
