"""Batches of the items of many callers."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from synfundus_serve.batcher import Batcher


class Doubling:
    """Doubles a batch once `go` is set, and records the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        assert self.go.wait(30)
        if -1 in items:
            raise ValueError("-1 cannot be doubled")
        return [2 * item for item in items]


async def _begun(work: Doubling, number: int) -> None:
    while len(work.batches) < number:
        await asyncio.sleep(0.001)


def test_items_that_arrive_during_a_batch_form_the_next_batches() -> None:
    work = Doubling()
    batcher = Batcher(work, 16, num_threads=1)

    async def many() -> list[int]:
        first = asyncio.create_task(batcher(0))
        await _begun(work, 1)
        others = [asyncio.create_task(batcher(i)) for i in range(1, 25)]
        await asyncio.sleep(0.01)
        work.go.set()
        return list(await asyncio.gather(first, *others))

    assert asyncio.run(many()) == [2 * i for i in range(25)]
    assert work.batches == [[0], list(range(1, 17)), list(range(17, 25))]
    assert batcher.num_batches == 3


def test_a_cancelled_item_is_not_computed() -> None:
    work = Doubling()
    batcher = Batcher(work, 4, num_threads=1)

    async def cancelled() -> None:
        first = asyncio.create_task(batcher(0))
        await _begun(work, 1)
        second, third = asyncio.create_task(batcher(1)), asyncio.create_task(batcher(2))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.sleep(0.01)
        work.go.set()
        assert (await first, await third) == (0, 4)

    asyncio.run(cancelled())
    assert work.batches == [[0], [2]]


def test_an_error_reaches_every_caller_of_its_batch_and_no_later_one() -> None:
    work = Doubling()
    work.go.set()
    batcher = Batcher(work, 4, num_threads=1)

    async def failing() -> None:
        results = await asyncio.gather(batcher(-1), batcher(1), return_exceptions=True)
        assert [type(one) for one in results] == [ValueError, ValueError]
        with pytest.raises(ValueError, match="cannot be doubled"):
            raise results[0]  # type: ignore[misc]
        assert await batcher(2) == 4

    asyncio.run(failing())
