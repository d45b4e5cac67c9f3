"""Progress off a terminal: one JSON line a period, with the rate of this run and the time left."""

import json

import pytest

from synfundus import progress
from synfundus.progress import LOG_PERIOD_S, show_progress


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_a_period_has_rate_and_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("sample", 100, "samples") as shown:
        shown.update(0)
        for done in range(1, 41):
            clock.now_s += 1
            shown.update(done, "attempt 1")
    told = lines(capsys)
    assert [line["done"] for line in told] == [15, 30]
    assert told[0] == {
        "stage": "sample",
        "done": 15,
        "total": 100,
        "unit": "samples",
        "per_s": 1.0,
        "eta_s": 85,
        "note": "attempt 1",
    }


def test_neither_start_up_nor_an_earlier_run_is_a_rate(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("train-generator", 1000, "steps") as shown:
        clock.now_s += 60  # Ray starts, models load
        shown.update(500)
        clock.now_s += LOG_PERIOD_S
        shown.update(530)
    told = lines(capsys)
    assert "eta_s" not in told[0]
    assert (told[-1]["per_s"], told[-1]["eta_s"]) == (2.0, 235)


def test_a_count_that_falls_back_gives_no_negative_rate(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """A worker died after the last checkpoint: the run goes on from there."""
    with show_progress("train-generator", 1000, "steps") as shown:
        shown.update(400)
        clock.now_s += LOG_PERIOD_S
        shown.update(300)
        clock.now_s += LOG_PERIOD_S
        shown.update(315)
    told = lines(capsys)
    assert [line["per_s"] for line in told] == [0.0, 1.0]
    assert "eta_s" not in told[0]


def test_a_quick_stage_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("fill", 3, "shards") as shown:
        shown.update(3)
    assert lines(capsys) == []
