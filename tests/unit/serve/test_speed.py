"""When a full replica says that it has room again."""

import pytest

from synfundus_serve.speed import LONGEST_RETRY_S, SMOOTHING, Speed


def test_the_time_is_that_of_the_work_at_the_smoothed_speed() -> None:
    speed = Speed()
    assert speed.seconds_for(1e9) == 1  # nothing is known
    speed.note(100, 10.0)
    assert speed.seconds_for(95) == 10
    speed.note(200, 10.0)
    assert speed.seconds_for(100 * (10 + SMOOTHING * 10)) == 100
    assert (speed.seconds_for(0.1), speed.seconds_for(1e9)) == (1, LONGEST_RETRY_S)


def test_nothing_done_says_nothing_of_the_speed() -> None:
    speed = Speed()
    speed.note(0, 1e-5)
    speed.note(100, 10.0)
    speed.note(0, 1e-5)
    assert speed.seconds_for(100) == pytest.approx(10)
