"""Inputs that threads read ahead of the step."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from synfundus.errors import StorageError
from synfundus.training.read_ahead import NUM_THREADS, ReadAhead


def join(parts: Sequence[list[int]]) -> list[int]:
    return [position for part in parts for position in part]


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")}


def test_what_was_read_ahead_equals_what_is_read_now() -> None:
    reader = ReadAhead(lambda positions: list(positions), join)
    reader.start([range(100), range(100, 103)])
    assert reader.take(range(100)) == list(range(100))
    assert reader.take(range(100, 103)) == [100, 101, 102]
    assert reader.take(range(7, 40)) == list(range(7, 40))  # was not started


def test_all_threads_read_a_micro_batch_at_once() -> None:
    meeting = threading.Barrier(NUM_THREADS, timeout=30)

    def read(positions: range) -> list[int]:
        meeting.wait()  # each thread waits here for the others
        return list(positions)

    reader = ReadAhead(read, join)
    reader.start([range(50)])
    assert reader.take(range(50)) == list(range(50))


def test_positions_are_read_once_and_forgotten_positions_are_not_read() -> None:
    gate, read_positions = threading.Event(), list[int]()

    def read(positions: range) -> list[int]:
        gate.wait(30)
        read_positions.extend(positions)
        return list(positions)

    reader = ReadAhead(read, join)
    reader.start([range(40), range(900, 901)])
    reader.start([range(40), range(950, 951)])  # 900 is not wanted any more, and no thread has begun with it
    gate.set()
    for positions in (range(40), range(950, 951)):
        reader.take(positions)
    assert sorted(read_positions) == [*range(40), 950]


def test_an_error_of_a_thread_reaches_the_step() -> None:
    def read(positions: range) -> list[int]:
        if 20 in positions:
            raise StorageError("data/p/images-00003.parquet: image 7 does not decode")
        return list(positions)

    reader = ReadAhead(read, join)
    reader.start([range(64)])
    with pytest.raises(StorageError, match=r"images-00003\.parquet: image 7"):
        reader.take(range(64))


@pytest.mark.parametrize("end", [lambda reader: reader.close(), lambda reader: None], ids=["closed", "dropped"])
def test_the_threads_end_with_the_reader(end: Callable[[Any], None]) -> None:
    others = threads()
    reader = ReadAhead(lambda positions: list(positions), join)
    reader.start([range(200)])
    reader.take(range(200))
    started = threads() - others
    assert started
    end(reader)
    del reader
    for thread in started:
        thread.join(30)
    assert not any(thread.is_alive() for thread in started)
