"""Two sides of a benchmark that run in turns of some seconds: while one runs, all processes of the other are stopped.

A machine whose speed drifts by a tenth within minutes, as a virtual one's does, cannot tell sides apart that run one
after the other. In turns both meet the same drift. No benchmark itself.
"""

import multiprocessing
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

TURN_S = 8.0
POLL_S = 0.05


@dataclass
class Side:
    """One side: a function in a new Python, with all processes that it starts."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    ready: Callable[[], bool]
    """Whether it has begun with what is measured; turns begin when both have."""
    done: Callable[[], bool]
    """Whether it is through with what is measured."""
    ran: list[list[float]] = field(default_factory=list)
    """Spans of time.time() in which it ran; the last one is open while it runs."""

    def start(self) -> None:
        self.process = multiprocessing.get_context("spawn").Process(target=self.function, args=self.arguments)
        self.process.start()
        self.ran.append([time.time(), float("inf")])

    def stop(self) -> None:
        self._signal(signal.SIGSTOP)
        self.ran[-1][1] = time.time()

    def go_on(self) -> None:
        self.ran.append([time.time(), float("inf")])
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(psutil.NoSuchProcess):
            mine = psutil.Process(self.process.pid)
            for process in (mine, *mine.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    def run_until(self, condition: Callable[[], bool], limit_s: float = float("inf")) -> None:
        end_s = time.time() + limit_s
        while not condition() and time.time() < end_s:
            if not self.process.is_alive():
                raise RuntimeError(f"{self.function.__name__} ended early, exit code {self.process.exitcode}")
            time.sleep(POLL_S)

    def finish(self) -> None:
        """Let it end; `ran` is closed then."""
        self.go_on()
        self.process.join()
        self.ran[-1][1] = time.time()

    def running_s(self, start_s: float, end_s: float) -> float:
        """Seconds that it ran between two times."""
        return sum(max(0.0, min(end_s, stop) - max(start_s, start)) for start, stop in self.ran)


def take_turns(first: Side, second: Side) -> None:
    """Run both, in turns from the moment that both are ready until both are done; start and end alone, too."""
    sides = (first, second)
    try:
        for side in sides:
            side.start()
            side.run_until(side.ready)
            side.stop()
        while not all(side.done() for side in sides):
            for side in sides:
                if not side.done():
                    side.go_on()
                    side.run_until(side.done, TURN_S)
                    side.stop()
        for side in sides:
            side.finish()
    finally:
        for side in sides:
            if hasattr(side, "process") and side.process.is_alive():
                side.go_on()
                side.process.terminate()
                side.process.join()
