"""One engine, driven from an event loop: the rows of all requests share its forward passes.

The engine ticks in a thread of its own, so that requests are admitted, cancelled and answered meanwhile. A row joins
at the next tick and leaves at the one after its request is cancelled.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synfundus.diffusion.engine import Engine, NonFiniteSampleError, RowRequest, to_uint8

LONGEST_RETRY_S = 600
RATE_SMOOTHING = 0.2


class BusyError(Exception):
    """The queue is full."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s
        """When there should be room again, at the present speed."""


class ContinuousEngine:
    """Denoises the rows of many requests together.

    Args:
        max_row_steps: steps of all rows that may be outstanding at once; a request that would exceed it is refused.
        num_threads: of the processor, for a tick.
    """

    def __init__(self, engine: Engine, max_row_steps: int, num_threads: int) -> None:
        self.engine, self.max_row_steps = engine, max_row_steps
        self._ticking = ThreadPoolExecutor(1, "denoise", torch.set_num_threads, (num_threads,))
        self._waiting: dict[int, asyncio.Future[Tensor]] = {}
        self._driver: asyncio.Task[None] | None = None
        self._row_steps_per_s = 0.0
        self.outstanding_row_steps = 0
        """Of admitted requests that are not answered."""

    async def draw(self, requests: Sequence[RowRequest]) -> NDArray[np.uint8]:
        """Images of the requests, uint8 (N, H, W, C), in their order. Cancelling the call takes its rows out.

        Raises:
            BusyError: the queue is full.
            WrongInputError: a request that the engine refuses; none of them is begun.
            NonFiniteSampleError: a row ended in NaN or infinity.
        """
        steps = sum(request.solver.num_steps for request in requests)
        excess = self.outstanding_row_steps + steps - self.max_row_steps
        if excess > 0:
            raise BusyError(self._seconds_for(excess))
        rows: dict[int, asyncio.Future[Tensor]] = {}
        self.outstanding_row_steps += steps
        try:
            for request in requests:
                rows[self.engine.submit(request)] = asyncio.get_running_loop().create_future()
            self._waiting |= rows
            if self._driver is None or self._driver.done():
                self._driver = asyncio.create_task(self._drive())
            images = await asyncio.gather(*rows.values())
        finally:
            self.outstanding_row_steps -= steps
            for ticket, image in rows.items():
                self._waiting.pop(ticket, None)
                image.cancel()
                self.engine.cancel(ticket)  # no error where it has left already
        return to_uint8(torch.stack(images)).numpy()

    async def _drive(self) -> None:
        """Tick until nothing is left."""
        try:
            while self._waiting or self.engine.num_rows:
                await self._tick()
        except Exception as error:  # whatever broke the engine, those who wait must hear of it
            for image in self._waiting.values():
                if not image.done():
                    image.set_exception(error)
            raise

    async def _tick(self) -> None:
        num_rows, start_s = self.engine.num_rows, time.monotonic()
        try:
            finished = await asyncio.get_running_loop().run_in_executor(self._ticking, self.engine.tick)
        except NonFiniteSampleError as error:
            for image in (self._waiting.get(ticket) for ticket in error.tickets):
                if image is not None and not image.done():
                    image.set_exception(error)
            return
        self._note_speed(num_rows, time.monotonic() - start_s)
        for ticket, x_CHW in finished:
            image = self._waiting.get(ticket)
            if image is not None and not image.done():
                image.set_result(x_CHW)

    def _note_speed(self, row_steps: int, seconds: float) -> None:
        speed = row_steps / max(seconds, 1e-6)
        before = self._row_steps_per_s or speed
        self._row_steps_per_s = before + RATE_SMOOTHING * (speed - before)

    def _seconds_for(self, row_steps: int) -> int:
        if not self._row_steps_per_s:
            return 1
        return min(max(math.ceil(row_steps / self._row_steps_per_s), 1), LONGEST_RETRY_S)

    def require_working(self) -> None:
        """Raises whatever broke the engine."""
        if self._driver is not None and self._driver.done() and not self._driver.cancelled():
            error = self._driver.exception()
            if error is not None:
                raise error
