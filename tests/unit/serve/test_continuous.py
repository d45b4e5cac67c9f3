"""The engine of a serving replica: requests share forwards, leave when cancelled, and do not change each other."""

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from synfundus.diffusion.config import ScheduleConfig, SolverConfig, UNetConfig
from synfundus.diffusion.engine import Engine, NonFiniteSampleError, RowRequest
from synfundus.diffusion.unet import build_unet
from synfundus.errors import WrongInputError
from synfundus.labels import HEADS, encode_conditions
from synfundus_serve.continuous import ContinuousEngine
from synfundus_serve.throughput import BusyError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPE = (3, 16, 16)
MANY = 100_000


def rows(num_steps: int, *seeds: int, guidance: float = 2.0, name: str = "ddim") -> list[RowRequest]:
    (condition,) = encode_conditions([{"eye_side": 1}])
    solver = SolverConfig.model_validate({"name": name, "num_steps": num_steps, "guidance_scale": guidance})
    return [RowRequest(condition, seed, solver) for seed in seeds]


@pytest.fixture(scope="module")
def unet() -> Any:
    torch.manual_seed(0)
    return build_unet(UNetConfig(size_px=16, channels=(16, 32), norm_num_groups=8))


def engine_of(unet: Any, max_row_steps: int = MANY) -> ContinuousEngine:
    return ContinuousEngine(Engine(unet, ScheduleConfig(), SHAPE), max_row_steps, num_threads=1)


async def _later(engine: ContinuousEngine, after_forwards: int, requests: list[RowRequest]) -> NDArray[np.uint8]:
    while engine.engine.num_forwards < after_forwards:
        await asyncio.sleep(0)
    return await engine.sample(requests)


def test_overlapping_requests_of_20_and_40_steps_take_fewer_than_60_forwards(unet: Any) -> None:
    engine = engine_of(unet)

    async def both() -> None:
        await asyncio.gather(engine.sample(rows(40, 1)), _later(engine, 5, rows(20, 2)))

    asyncio.run(both())
    assert 40 <= engine.engine.num_forwards < 60


def test_a_request_among_others_gives_the_same_images_as_alone(unet: Any) -> None:
    request = rows(12, 7, 8)
    others = [rows(20, 1, 2, 3), rows(9, 4, guidance=1.0), rows(15, 5, name="dpmpp-2m"), rows(11, 6, name="ddpm")]

    async def among() -> list[NDArray[np.uint8]]:
        engine = engine_of(unet)
        return list(await asyncio.gather(*(engine.sample(r) for r in others), _later(engine, 3, request)))

    alone = asyncio.run(engine_of(unet).sample(request))
    crowded = asyncio.run(among())[-1]
    assert alone.shape == (2, 16, 16, 3)
    assert np.abs(alone.astype(int) - crowded).max() <= 1
    assert len(np.unique(alone)) > 50  # images, not a constant


def test_rows_of_a_cancelled_request_leave_and_the_others_continue(unet: Any) -> None:
    engine = engine_of(unet)

    async def cancelled() -> None:
        left = asyncio.create_task(engine.sample(rows(1000, 1, 2, 3, 4)))
        stays = asyncio.create_task(engine.sample(rows(30, 5)))
        while engine.engine.num_forwards < 3:
            await asyncio.sleep(0)
        assert engine.engine.num_rows == 5
        left.cancel()
        await stays
        assert engine.engine.num_rows == 0
        assert engine.outstanding_row_steps == 0
        with pytest.raises(asyncio.CancelledError):
            await left

    asyncio.run(cancelled())
    assert engine.engine.num_forwards <= 30 + 3


def test_a_full_queue_states_the_seconds_until_a_retry(unet: Any) -> None:
    engine = engine_of(unet, max_row_steps=100)

    async def full() -> None:
        first = asyncio.create_task(engine.sample(rows(80, 1)))
        while engine.engine.num_forwards < 10:
            await asyncio.sleep(0)
        with pytest.raises(BusyError) as refused:
            await engine.sample(rows(60, 2))
        assert 1 <= refused.value.retry_after_s <= 600
        assert len(await engine.sample(rows(20, 3))) == 1  # this one fits
        await first
        assert len(await engine.sample(rows(100, 2))) == 1

    asyncio.run(full())


def test_each_step_makes_room_not_only_a_finished_request(unet: Any) -> None:
    engine = engine_of(unet, max_row_steps=100)

    async def half_done() -> None:
        first = asyncio.create_task(engine.sample(rows(100, 1)))
        while engine.engine.num_forwards < 60:
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        assert engine.outstanding_row_steps <= 40
        assert len(await engine.sample(rows(50, 2))) == 1
        await first
        assert engine.outstanding_row_steps == 0

    asyncio.run(half_done())


def test_row_steps_of_cancelled_rows_do_not_count_as_throughput(unet: Any) -> None:
    engine = engine_of(unet)

    async def cancelled() -> None:
        left = asyncio.create_task(engine.sample(rows(50, *range(64))))
        while engine.engine.num_forwards < 4:
            await asyncio.sleep(0)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        while engine.outstanding_row_steps:
            await asyncio.sleep(0.01)

    asyncio.run(cancelled())
    # No machine computes 200,000 of these row-steps in a second.
    assert engine._throughput.seconds_for(200_000) > 1


def test_a_refused_request_begins_no_row(unet: Any) -> None:
    engine = engine_of(unet)

    async def refused() -> None:
        with pytest.raises(WrongInputError, match="seed"):
            await engine.sample([*rows(5, 1), *rows(5, -1)])
        assert engine.outstanding_row_steps == 0
        await engine.sample(rows(5, 3))

    asyncio.run(refused())
    assert engine.engine.num_forwards == 5


class _PoisonedUNet:
    """Returns NaN for rows whose condition requests `is_fundus: 0`; raises if `broken`."""

    broken = False

    def __call__(self, x_BCHW: Tensor, t_B: Tensor, class_labels: Tensor, **_: object) -> SimpleNamespace:
        if self.broken:
            raise RuntimeError("out of memory")
        poisoned_B = class_labels[:, HEADS["is_fundus"].start] < 0
        return SimpleNamespace(sample=torch.where(poisoned_B[:, None, None, None], torch.nan, x_BCHW))


def _not_a_fundus(seed: int) -> RowRequest:
    (condition,) = encode_conditions([{"is_fundus": 0}])
    return RowRequest(condition, seed, SolverConfig(num_steps=10))


def test_a_row_that_is_not_finite_fails_only_its_own_request() -> None:
    engine = engine_of(_PoisonedUNet())

    async def poisoned() -> list[Any]:
        calls = [engine.sample([_not_a_fundus(1), *rows(10, 2)]), engine.sample(rows(10, 3))]
        return list(await asyncio.gather(*calls, return_exceptions=True))

    bad, good = asyncio.run(poisoned())
    assert isinstance(bad, NonFiniteSampleError)
    assert good.shape == (1, 16, 16, 3)


def test_a_broken_engine_fails_waiting_requests_and_the_health_check() -> None:
    unet = _PoisonedUNet()
    engine = engine_of(unet)

    async def broken() -> None:
        await engine.sample(rows(2, 1))
        engine.require_working()
        unet.broken = True
        with pytest.raises(RuntimeError, match="out of memory"):
            await engine.sample(rows(2, 1))
        assert engine.outstanding_row_steps == 0
        with pytest.raises(RuntimeError, match="out of memory"):
            engine.require_working()
        again = asyncio.create_task(engine.sample(rows(2, 1)))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="out of memory"):
            engine.require_working()  # a new attempt alone does not repair it
        with pytest.raises(RuntimeError, match="out of memory"):
            await again
        unet.broken = False
        await engine.sample(rows(2, 1))
        engine.require_working()

    asyncio.run(broken())
