"""Work of many callers in shared batches."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from synfundus_serve.batches import Batches


class Doubling:
    """Waits until it is let go; notes what came together."""

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


def test_what_comes_while_a_batch_is_under_way_goes_together() -> None:
    work = Doubling()
    batches = Batches(work, 16, num_threads=1)

    async def many() -> list[int]:
        first = asyncio.create_task(batches(0))
        await _begun(work, 1)
        others = [asyncio.create_task(batches(i)) for i in range(1, 25)]
        await asyncio.sleep(0.01)
        work.go.set()
        return list(await asyncio.gather(first, *others))

    assert asyncio.run(many()) == [2 * i for i in range(25)]
    assert work.batches == [[0], list(range(1, 17)), list(range(17, 25))]
    assert batches.num_batches == 3


def test_who_hangs_up_is_left_out() -> None:
    work = Doubling()
    batches = Batches(work, 4, num_threads=1)

    async def hung_up() -> None:
        first = asyncio.create_task(batches(0))
        await _begun(work, 1)
        second, third = asyncio.create_task(batches(1)), asyncio.create_task(batches(2))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.sleep(0.01)
        work.go.set()
        assert (await first, await third) == (0, 4)

    asyncio.run(hung_up())
    assert work.batches == [[0], [2]]


def test_a_failure_is_told_to_all_of_its_batch_and_ends_there() -> None:
    work = Doubling()
    work.go.set()
    batches = Batches(work, 4, num_threads=1)

    async def failing() -> None:
        told = await asyncio.gather(batches(-1), batches(1), return_exceptions=True)
        assert [type(one) for one in told] == [ValueError, ValueError]
        with pytest.raises(ValueError, match="cannot be doubled"):
            raise told[0]  # type: ignore[misc]
        assert await batches(2) == 4

    asyncio.run(failing())
