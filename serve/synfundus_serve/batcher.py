"""Batches of the items of many callers: while one batch is computed, the next one gathers.

Ray Serve's `@serve.batch` closes a batch after a fixed time, even while another batch is computed. Under load it then
computes several batches of one item that could be one batch.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Computes results in batches. An idle batcher starts at once; items that arrive during a batch form the next one.

    Args:
        work: returns one result per item; called in a thread of its own with at most `max_size` items.
        num_threads: torch threads of `work`.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result]], max_size: int, num_threads: int) -> None:
        self._work, self._max_size = work, max_size
        self._thread = ThreadPoolExecutor(1, "batch", torch.set_num_threads, (num_threads,))
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._driver: asyncio.Task[None] | None = None
        self.num_batches = 0
        """Batches computed so far."""

    async def __call__(self, item: Item) -> Result:
        """Return the result of `item`, or raise what `work` raised. Cancelling removes an item that has not begun."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive())
        return await result

    async def _drive(self) -> None:
        """Compute batches until no item waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._max_size, len(self._waiting)))]
            batch = [(item, result) for item, result in batch if not result.cancelled()]
            if not batch:
                continue
            self.num_batches += 1
            results: Sequence[Result | Exception]
            try:
                results = await loop.run_in_executor(self._thread, self._work, [item for item, _ in batch])
            except Exception as error:  # raised in each caller of the batch
                results = [error] * len(batch)
            for (_, waiting), result in zip(batch, results, strict=True):
                if waiting.cancelled():
                    continue
                if isinstance(result, Exception):
                    waiting.set_exception(result)
                else:
                    waiting.set_result(result)
