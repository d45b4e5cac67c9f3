"""Progress of a stage with rate and time left: a bar on a terminal, elsewhere a JSON line once per period."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

LOG_PERIOD_S = 15.0


class Progress(Protocol):
    """Receiver of a stage's progress."""

    def update(self, done: int, note: str = "") -> None:
        """Show that `done` units are finished, with a short note."""
        ...


class _Rate:
    """Units per second of this run.

    The clock starts at the first update, so that neither the units of an earlier run nor the start-up count. It starts
    again when the count falls back, as it does when a worker died after the last checkpoint.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._start_s = 0.0

    def at(self, done: int, now_s: float) -> float:
        """Return the rate after `done` units at time `now_s`."""
        if self._first is None or done < self._first:
            self._first, self._start_s = done, now_s
        return (done - self._first) / max(1e-9, now_s - self._start_s)


class _Log:
    """Progress as one JSON line per period on standard error."""

    def __init__(self, stage: str, total: int, unit: str) -> None:
        self._stage, self._total, self._unit = stage, total, unit
        self._rate, self._logged_s = _Rate(), time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        now_s = time.monotonic()
        rate = self._rate.at(done, now_s)
        if now_s - self._logged_s < LOG_PERIOD_S:
            return
        self._logged_s = now_s
        line = {"stage": self._stage, "done": done, "total": self._total, "unit": self._unit, "per_s": round(rate, 2)}
        if rate > 0:
            line["eta_s"] = round((self._total - done) / rate)
        if note:
            line["note"] = note
        sys.stderr.write(json.dumps(line) + "\n")
        sys.stderr.flush()


class _Bar:
    """Progress as a bar of rich."""

    def __init__(self, bars: RichProgress, stage: str, total: int) -> None:
        self._bars, self._rate = bars, _Rate()
        self._task = bars.add_task(stage, total=total, note="", rate="")

    def update(self, done: int, note: str = "") -> None:
        rate = self._rate.at(done, time.monotonic())
        self._bars.update(self._task, completed=done, note=note, rate=f"{rate:.1f}/s" if rate else "")


@contextmanager
def show_progress(stage: str, total: int, unit: str) -> Iterator[Progress]:
    """Show the progress of a stage of `total` units while the body runs."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Log(stage, total, unit)
        return
    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with RichProgress(*columns, console=console, transient=True) as bars:
        yield _Bar(bars, stage, total)
