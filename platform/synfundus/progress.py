"""Progress with rate and time left: a live line on a terminal, a structured log line a period elsewhere."""

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
    """Where a stage says how far it is."""

    def update(self, done: int, note: str = "") -> None: ...


class _Logged:
    """One JSON line a period on standard error."""

    def __init__(self, stage: str, total: int, unit: str) -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self.start_s = self.logged_s = time.monotonic()
        self.first: int | None = None

    def update(self, done: int, note: str = "") -> None:
        now = time.monotonic()
        if self.first is None or done < self.first:
            # The rate counts from here on: what an earlier run did, and how long this one took to start, is no rate.
            self.first, self.start_s = done, now
        if now - self.logged_s < LOG_PERIOD_S:
            return
        self.logged_s = now
        rate = (done - self.first) / max(1e-9, now - self.start_s)
        line = {"stage": self.stage, "done": done, "total": self.total, "unit": self.unit, "per_s": round(rate, 2)}
        if rate > 0:
            line["eta_s"] = round((self.total - done) / rate)
        if note:
            line["note"] = note
        sys.stderr.write(json.dumps(line) + "\n")
        sys.stderr.flush()


class _Live:
    """A bar of rich."""

    def __init__(self, bars: RichProgress, stage: str, total: int) -> None:
        self.bars = bars
        self.task = bars.add_task(stage, total=total, note="", rate="")
        self.start_s, self.first = time.monotonic(), -1

    def update(self, done: int, note: str = "") -> None:
        if self.first < 0 or done < self.first:
            self.first, self.start_s = done, time.monotonic()
        rate = (done - self.first) / max(1e-9, time.monotonic() - self.start_s)
        self.bars.update(self.task, completed=done, note=note, rate=f"{rate:.1f}/s" if rate else "")


@contextmanager
def show_progress(stage: str, total: int, unit: str) -> Iterator[Progress]:
    """A progress display for one stage of `total` units."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Logged(stage, total, unit)
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
        yield _Live(bars, stage, total)
