"""Inputs of the next micro-batches, read in threads while a step is computed.

Reading is a pure function of the positions, so threads change nothing but the time at which it happens.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

NUM_THREADS = 4
"""Threads that read, each one micro-batch at a time. Pillow releases the GIL while it decodes."""
NUM_AHEAD = NUM_THREADS
"""Micro-batches that are read ahead of the one in use; they are in memory."""

InputT = TypeVar("InputT")


class ReadAhead(Generic[InputT]):
    """Reader of inputs by their global sample positions. Its threads end with it."""

    def __init__(self, read: Callable[[range], InputT]) -> None:
        """Start no thread yet.

        Args:
            read: returns the inputs at some positions; called from several threads. It must not refer to the object
                that holds this reader, or the threads outlive both until the next garbage collection.
        """
        self._read = read
        self._pool = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="read-ahead")
        self._started: dict[range, Future[InputT]] = {}

    def start(self, upcoming: Iterable[range]) -> None:
        """Start to read the inputs at these positions, in this order, and drop those that were started at others."""
        wanted = list(upcoming)
        for positions in self._started.keys() - set(wanted):
            self._started.pop(positions).cancel()
        for positions in wanted:
            if positions not in self._started:
                self._started[positions] = self._pool.submit(self._read, positions)

    def take(self, positions: range) -> InputT:
        """Return the inputs at these positions; they are read now if they were not started.

        Raises:
            Exception: what `read` raised.
        """
        started = self._started.pop(positions, None)
        return self._read(positions) if started is None else started.result()

    def close(self) -> None:
        """End the threads; those in the middle of a micro-batch finish it first."""
        self._pool.shutdown(cancel_futures=True)
