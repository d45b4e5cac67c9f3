"""Memory that the threads of a replica share."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryLimit:
    """Limit of the bytes that threads hold together. Threads wait in order, so a large request is served, too."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._held_bytes = max_bytes, 0
        self._turn, self._freed = threading.Lock(), threading.Condition()

    @contextmanager
    def hold(self, num_bytes: int) -> Iterator[None]:
        """Hold `num_bytes`, at most `max_bytes`, in the body; wait until they are free."""
        with self._turn, self._freed:
            self._freed.wait_for(lambda: self._held_bytes + num_bytes <= self._max_bytes)
            self._held_bytes += num_bytes
        try:
            yield
        finally:
            with self._freed:
                self._held_bytes -= num_bytes
                self._freed.notify()
