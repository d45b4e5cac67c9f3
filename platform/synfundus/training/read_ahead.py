"""Inputs of the next micro-batches, read in threads while a step is computed.

Reading is a pure function of the positions, so threads change nothing but the time at which it happens.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

NUM_THREADS = 4
"""Threads that read; each takes a part of every micro-batch. Pillow releases the GIL while it decodes."""
NUM_AHEAD = 2
"""Micro-batches that are read ahead of the one in use; they are in memory."""

InputT = TypeVar("InputT")


class ReadAhead(Generic[InputT]):
    """Reader of inputs by their global sample positions. Its threads end with it."""

    def __init__(self, read: Callable[[range], InputT], join: Callable[[Sequence[InputT]], InputT]) -> None:
        """Start no thread yet.

        Args:
            read: returns the inputs at some positions; called from several threads. It must not refer to the object
                that holds this reader, or the threads outlive both until the next garbage collection.
            join: returns consecutive inputs as one.
        """
        self._read, self._join = read, join
        self._pool = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="read-ahead")
        self._started: dict[range, list[Future[InputT]]] = {}

    def start(self, upcoming: Iterable[range]) -> None:
        """Start to read the inputs at these positions, in this order; forget what was started before at others."""
        wanted = list(upcoming)
        for positions in self._started.keys() - set(wanted):
            for part in self._started.pop(positions):
                part.cancel()
        for positions in wanted:
            if positions not in self._started:
                size = math.ceil(len(positions) / NUM_THREADS)
                self._started[positions] = [
                    self._pool.submit(self._read, positions[first : first + size])
                    for first in range(0, len(positions), size)
                ]

    def take(self, positions: range) -> InputT:
        """Return the inputs at these positions; they are read now if they were not started.

        Raises:
            Exception: what `read` raised.
        """
        if positions not in self._started:
            return self._read(positions)
        return self._join([part.result() for part in self._started.pop(positions)])

    def close(self) -> None:
        """End the threads; those in the middle of a part finish it first."""
        self._pool.shutdown(cancel_futures=True)
