"""Progress without a terminal: one JSON line per period, with the rate of this run and the time left."""

import json

import pytest

from synfundus import progress
from synfundus.progress import LOG_PERIOD_S, show_progress


class Clock:
    """A clock that a test sets."""

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


def test_each_period_gets_one_line_with_rate_and_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("sample", 100, "samples") as shown:
        shown.update(0)
        for done in range(1, 41):
            clock.now_s += 1
            shown.update(done, "attempt 1")
    logged = lines(capsys)
    assert [line["done"] for line in logged] == [15, 30]
    assert logged[0] == {
        "stage": "sample",
        "done": 15,
        "total": 100,
        "unit": "samples",
        "per_s": 1.0,
        "eta_s": 85,
        "note": "attempt 1",
    }


def test_the_rate_leaves_out_start_up_and_the_steps_of_an_earlier_run(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with show_progress("train-generator", 1000, "steps") as shown:
        clock.now_s += 60  # Ray starts, models load
        shown.update(500)
        clock.now_s += LOG_PERIOD_S
        shown.update(530)
    logged = lines(capsys)
    assert "eta_s" not in logged[0]
    assert (logged[-1]["per_s"], logged[-1]["eta_s"]) == (2.0, 235)


def test_the_rate_is_not_negative_when_the_count_falls_back(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """The count falls back when a worker died after the last checkpoint."""
    with show_progress("train-generator", 1000, "steps") as shown:
        shown.update(400)
        clock.now_s += LOG_PERIOD_S
        shown.update(300)
        clock.now_s += LOG_PERIOD_S
        shown.update(315)
    logged = lines(capsys)
    assert [line["per_s"] for line in logged] == [0.0, 1.0]
    assert "eta_s" not in logged[0]


def test_a_stage_shorter_than_a_period_logs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("fill", 3, "shards") as shown:
        shown.update(3)
    assert lines(capsys) == []
