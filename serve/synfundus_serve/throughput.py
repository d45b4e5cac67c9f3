"""Throughput of a replica, and the time after which a full one has room again."""

import math

MAX_RETRY_S = 600
SMOOTHING = 0.2
"""Weight of the latest measurement."""


class BusyError(Exception):
    """The queue of the replica is full."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s
        """Seconds until there should be room again, at the present throughput."""


class Throughput:
    """Units of work per second, smoothed exponentially."""

    def __init__(self) -> None:
        self._per_s = 0.0

    def record(self, amount: float, duration_s: float) -> None:
        """Record that `amount` units took `duration_s`. An amount of 0 changes nothing."""
        if amount:
            latest = amount / max(duration_s, 1e-6)
            self._per_s += (SMOOTHING if self._per_s else 1.0) * (latest - self._per_s)

    def seconds_for(self, amount: float) -> int:
        """Return the whole seconds, 1 to 600, that `amount` takes; 1 before the first measurement."""
        if not self._per_s:
            return 1
        return min(max(math.ceil(amount / self._per_s), 1), MAX_RETRY_S)
