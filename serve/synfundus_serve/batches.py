"""Work of many callers in shared batches: while one batch is under way, the next one gathers.

Not Ray Serve's `@serve.batch`: it closes a batch after a time, also while another one is under way, so that under load
batches of one item stand in a row though they could go together.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batches(Generic[Item, Result]):
    """An item that finds the thread idle is a batch at once; those that come meanwhile go together into the next.

    Args:
        work: gives a result an item; called in a thread of its own with at most `max_size` items.
        num_threads: of the processor, for `work`.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result]], max_size: int, num_threads: int) -> None:
        self._work, self._max_size = work, max_size
        self._thread = ThreadPoolExecutor(1, "batch", torch.set_num_threads, (num_threads,))
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._driver: asyncio.Task[None] | None = None
        self.num_batches = 0
        """Worked on so far."""

    async def __call__(self, item: Item) -> Result:
        """The item's result, or what `work` raised. Cancelling the call takes an item out that is not begun."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive())
        return await result

    async def _drive(self) -> None:
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
            except Exception as error:  # whatever it is, those who wait must hear of it
                results = [error] * len(batch)
            for (_, waiting), result in zip(batch, results, strict=True):
                if waiting.cancelled():
                    continue
                if isinstance(result, Exception):
                    waiting.set_exception(result)
                else:
                    waiting.set_result(result)
