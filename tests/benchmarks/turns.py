"""Run the two sides of a benchmark in turns of a few seconds: while one runs, all processes of the other are stopped.

The speed of a virtual machine drifts by a tenth within minutes, so sides that run one after the other cannot be
compared. In turns the drift affects both alike. This module is a helper, not a benchmark.
"""

import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

TURN_S = 8.0
"""Length of a turn."""
POLL_S = 0.05
"""Period at which the state of a side is read."""


@dataclass
class Side:
    """One side: a function in a new Python process, with all processes that it starts."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    ready: Callable[[], bool]
    """Returns True once the measured part has begun. Turns start when both sides are ready."""
    done: Callable[[], bool]
    """Returns True once the measured part has ended."""
    ran: list[list[float]] = field(default_factory=list)
    """Start and end of each turn as time.time(); the end of the current turn is infinite."""

    def start(self) -> None:
        """Start the process."""
        self.process = multiprocessing.get_context("spawn").Process(target=self.function, args=self.arguments)
        self.process.start()
        self.ran.append([time.time(), float("inf")])

    def stop(self) -> None:
        """Stop all processes of the side (SIGSTOP)."""
        self._signal(signal.SIGSTOP)
        self.ran[-1][1] = time.time()

    def resume(self) -> None:
        """Continue all processes of the side."""
        self.ran.append([time.time(), float("inf")])
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            for process in (parent, *parent.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    def run_until(self, condition: Callable[[], bool], limit_s: float = float("inf")) -> None:
        """Wait until `condition` holds, at most `limit_s`."""
        end_s = time.time() + limit_s
        while not condition() and time.time() < end_s:
            if not self.process.is_alive():
                raise RuntimeError(f"{self.function.__name__} ended early, exit code {self.process.exitcode}")
            time.sleep(POLL_S)

    def finish(self) -> None:
        """Wait for the end of the process, and close the last turn."""
        self.resume()
        self.process.join()
        self.ran[-1][1] = time.time()

    def running_s(self, start_s: float, end_s: float) -> float:
        """Return the seconds between two times in which the side was not stopped."""
        return sum(max(0.0, min(end_s, stop) - max(start_s, start)) for start, stop in self.ran)


def take_turns(first: Side, second: Side) -> None:
    """Run both sides. Each starts and ends alone; in between they take turns from ready until done."""
    sides = (first, second)
    try:
        for side in sides:
            side.start()
            side.run_until(side.ready)
            side.stop()
        while not all(side.done() for side in sides):
            for side in sides:
                if not side.done():
                    side.resume()
                    side.run_until(side.done, TURN_S)
                    side.stop()
        for side in sides:
            side.finish()
    finally:
        for side in sides:
            if hasattr(side, "process") and side.process.is_alive():
                side.resume()
                side.process.terminate()
                side.process.join()


def ratio_interval(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the ratio `other` : `one` of speeds, over pairs of neighbouring turns."""
    pairs_N2 = np.array(list(zip(one, other, strict=False)))
    rows_RN = np.random.default_rng(0).integers(len(pairs_N2), size=(10_000, len(pairs_N2)))
    sums_R2 = pairs_N2[rows_RN].sum(1)
    low, high = np.quantile(sums_R2[:, 1] / sums_R2[:, 0], (0.025, 0.975))
    return float(low), float(high)
