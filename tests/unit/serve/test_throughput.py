"""Retry-After of a full replica, from its measured throughput."""

import pytest

from synfundus_serve.throughput import MAX_RETRY_S, SMOOTHING, Throughput


def test_the_time_follows_from_the_smoothed_throughput() -> None:
    throughput = Throughput()
    assert throughput.seconds_for(1e9) == 1  # no measurement yet
    throughput.record(100, 10.0)
    assert throughput.seconds_for(95) == 10
    throughput.record(200, 10.0)
    assert throughput.seconds_for(100 * (10 + SMOOTHING * 10)) == 100
    assert (throughput.seconds_for(0.1), throughput.seconds_for(1e9)) == (1, MAX_RETRY_S)


def test_an_amount_of_zero_does_not_change_the_throughput() -> None:
    throughput = Throughput()
    throughput.record(0, 1e-5)
    throughput.record(100, 10.0)
    throughput.record(0, 1e-5)
    assert throughput.seconds_for(100) == pytest.approx(10)
