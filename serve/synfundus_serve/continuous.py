"""One engine, driven from an event loop: the rows of all requests share its forward passes.

The engine ticks in a thread of its own, so the event loop stays free to admit, cancel and answer requests. A row joins
at the next tick that has room. It leaves when it is finished, or at the first tick after its request is cancelled.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synfundus.diffusion.engine import Engine, NonFiniteSampleError, RowRequest, to_uint8
from synfundus_serve.throughput import BusyError, Throughput


class ContinuousEngine:
    """Denoises the rows of many requests together.

    Args:
        max_row_steps: limit of the row-steps that are outstanding at once; a request beyond it is refused.
        num_threads: torch threads of a tick.
    """

    def __init__(self, engine: Engine, max_row_steps: int, num_threads: int) -> None:
        self.engine, self.max_row_steps = engine, max_row_steps
        self._thread = ThreadPoolExecutor(1, "denoise", torch.set_num_threads, (num_threads,))
        self._waiting: dict[int, asyncio.Future[Tensor]] = {}
        self._driver: asyncio.Task[None] | None = None
        self._throughput = Throughput()
        self._failure: Exception | None = None
        self.outstanding_row_steps = 0
        """Row-steps that admitted requests still need; counted anew after each tick."""

    async def sample(self, requests: Sequence[RowRequest]) -> NDArray[np.uint8]:
        """Return the samples of `requests`, uint8 (N, H, W, C), in their order. Cancelling removes their rows.

        Raises:
            BusyError: the queue is full.
            WrongInputError: the engine refuses one of the requests; none of them is begun.
            NonFiniteSampleError: a row ended in NaN or infinity.
        """
        row_steps = sum(request.solver.num_steps for request in requests)
        excess = self.outstanding_row_steps + row_steps - self.max_row_steps
        if excess > 0:
            raise BusyError(self._throughput.seconds_for(excess))
        rows: dict[int, asyncio.Future[Tensor]] = {}
        try:
            for request in requests:
                rows[self.engine.submit(request)] = asyncio.get_running_loop().create_future()
            self._waiting |= rows
            self.outstanding_row_steps += row_steps
            if self._driver is None or self._driver.done():
                self._driver = asyncio.create_task(self._drive())
            images = await asyncio.gather(*rows.values())
        finally:
            for ticket, image in rows.items():
                self._waiting.pop(ticket, None)
                image.cancel()
                self.engine.cancel(ticket)  # no error if the row has left already
        return to_uint8(torch.stack(images)).numpy()

    async def _drive(self) -> None:
        """Tick until no row is left."""
        try:
            while self._waiting or self.engine.num_rows:
                await self._tick()
                self.outstanding_row_steps = self.engine.row_steps_left
                self._failure = None
        except Exception as error:  # raised in every waiting request
            self._failure, self.outstanding_row_steps = error, 0
            for image in self._waiting.values():
                if not image.done():
                    image.set_exception(error)

    async def _tick(self) -> None:
        row_steps, start_s = self.engine.num_row_steps, time.monotonic()
        try:
            finished = await asyncio.get_running_loop().run_in_executor(self._thread, self.engine.tick)
        except NonFiniteSampleError as error:
            for image in (self._waiting.get(ticket) for ticket in error.tickets):
                if image is not None and not image.done():
                    image.set_exception(error)
            return
        self._throughput.record(self.engine.num_row_steps - row_steps, time.monotonic() - start_s)
        for ticket, x_CHW in finished:
            image = self._waiting.get(ticket)
            if image is not None and not image.done():
                image.set_result(x_CHW)

    def require_working(self) -> None:
        """Raise the error that broke the engine, until a tick succeeds."""
        if self._failure is not None:
            raise self._failure
