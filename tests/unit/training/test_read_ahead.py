"""Inputs that threads read ahead of the step."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from synfundus.errors import StorageError
from synfundus.training.read_ahead import NUM_THREADS, ReadAhead


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")}


def test_what_was_read_ahead_equals_what_is_read_now() -> None:
    reader = ReadAhead(list)
    reader.start([range(100), range(100, 103)])
    assert reader.take(range(100)) == list(range(100))
    assert reader.take(range(100, 103)) == [100, 101, 102]
    assert reader.take(range(7, 40)) == list(range(7, 40))  # was not started


def test_all_threads_read_at_once_and_the_inputs_keep_their_order() -> None:
    meeting = threading.Barrier(NUM_THREADS, timeout=30)

    def read(positions: range) -> list[int]:
        meeting.wait()  # each thread waits here for the others
        return list(positions)

    reader = ReadAhead(read)
    micro_batches = [range(start, start + 10) for start in range(0, 10 * NUM_THREADS, 10)]
    reader.start(micro_batches)
    assert [reader.take(positions) for positions in micro_batches] == [list(positions) for positions in micro_batches]


def test_positions_are_read_once_and_forgotten_positions_are_not_read() -> None:
    gate, read_positions = threading.Event(), list[int]()

    def read(positions: range) -> list[int]:
        gate.wait(30)
        read_positions.extend(positions)
        return list(positions)

    reader = ReadAhead(read)
    busy = [range(number, number + 1) for number in range(NUM_THREADS)]
    reader.start([*busy, range(900, 901)])
    reader.start([*busy, range(950, 951)])  # 900 is not wanted any more, and no thread has begun with it
    gate.set()
    for positions in (*busy, range(950, 951)):
        reader.take(positions)
    assert sorted(read_positions) == [*range(NUM_THREADS), 950]


def test_an_error_of_a_thread_reaches_the_step() -> None:
    def read(positions: range) -> list[int]:
        if 20 in positions:
            raise StorageError("data/p/images-00003.parquet: image 7 does not decode")
        return list(positions)

    reader = ReadAhead(read)
    reader.start([range(64)])
    with pytest.raises(StorageError, match=r"images-00003\.parquet: image 7"):
        reader.take(range(64))


@pytest.mark.parametrize("end", [lambda reader: reader.close(), lambda reader: None], ids=["closed", "dropped"])
def test_the_threads_end_with_the_reader(end: Callable[[Any], None]) -> None:
    others = threads()
    reader = ReadAhead(list)
    reader.start([range(200)])
    reader.take(range(200))
    started = threads() - others
    assert started
    end(reader)
    del reader
    for thread in started:
        thread.join(30)
    assert not any(thread.is_alive() for thread in started)
