"""Rows of the engine: equal to their run alone, and bit-equal at a fixed batch shape."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from support.rows import MIXED_SOLVERS, SCHEDULE, SHAPE, Recorded, alone, finish, request, staggered
from synfundus.diffusion.config import SolverConfig
from synfundus.diffusion.engine import Engine, RowRequest, to_uint8
from synfundus.diffusion.solvers import solver_table

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_rows_that_join_and_leave_equal_their_run_alone_in_fp32(unet: Any) -> None:
    requests = [request(i, MIXED_SOLVERS[i % len(MIXED_SOLVERS)]) for i in range(10)]
    engine = Engine(unet, SCHEDULE, SHAPE, bucket_sizes=(1, 2, 4, 8))
    images = staggered(engine, requests, every=3)
    assert engine.num_forwards < sum(row.solver.num_steps for row in requests)
    for image, row in zip(images, requests, strict=True):
        expected = alone(unet, row)
        assert float((image - expected).abs().max()) <= 2e-4
        difference = to_uint8(image[None]).int() - to_uint8(expected[None]).int()
        assert int(difference.abs().max()) <= 1
    # The bound is not trivial: the images differ, also if only their conditions do, and fill the range.
    assert all(float((a - b).abs().mean()) > 0.1 for i, a in enumerate(images) for b in images[:i])
    twin = RowRequest(request(1, requests[0].solver).condition, requests[0].seed, requests[0].solver)
    assert float((alone(unet, twin) - images[0]).abs().max()) > 0.05
    assert all(float(image.std()) > 0.2 for image in images)


def test_rows_that_join_and_leave_equal_their_run_alone_in_bf16(unet: Any) -> None:
    requests = [request(i, MIXED_SOLVERS[i % len(MIXED_SOLVERS)]) for i in range(10)]
    images = staggered(Engine(unet, SCHEDULE, SHAPE, dtype=torch.bfloat16), requests, every=3)
    for image, row in zip(images, requests, strict=True):
        expected = alone(unet, row, torch.bfloat16)
        difference = (to_uint8(image[None]).double() - to_uint8(expected[None]).double()).abs()
        assert float(difference.mean()) <= 0.5
        assert float(difference.max()) <= 4.0
    in_fp32 = alone(unet, requests[0])
    assert not torch.equal(images[0], in_fp32)
    assert float((images[0] - in_fp32).abs().mean()) < 0.02


def test_a_row_of_a_lock_step_run_equals_its_row_in_continuous_use(unet: Any) -> None:
    for solver in MIXED_SOLVERS:
        requests = [request(i, solver) for i in range(3)]
        together = Engine(unet, SCHEDULE, SHAPE).run(requests, 3)
        for image, row in zip(together, requests, strict=True):
            expected = to_uint8(alone(unet, row)[None])[0].numpy()
            assert np.abs(image.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_at_a_fixed_batch_shape_a_row_does_not_depend_on_its_neighbours(unet: Any, dtype: torch.dtype) -> None:
    for solver in MIXED_SOLVERS[:3]:
        engine = Engine(unet, SCHEDULE, SHAPE, dtype=dtype)
        images = engine.run([request(i, solver) for i in range(4)], 4)
        others = engine.run([request(i, solver) for i in (0, 11, 2, 13)], 4)
        assert np.array_equal(images[[0, 2]], others[[0, 2]])
        assert not np.array_equal(images[1], others[1])


def test_the_bits_before_rounding_are_equal_too(unet: Any) -> None:
    solver = MIXED_SOLVERS[2]

    def floats(ids: Sequence[int]) -> list[Tensor]:
        engine = Engine(unet, SCHEDULE, SHAPE, bucket_sizes=(4, 8))
        tickets = [engine.submit(request(i, solver)) for i in ids]
        images = finish(engine)
        return [images[ticket] for ticket in tickets]

    first, second = floats((0, 1, 2, 3)), floats((9, 1, 8, 3))
    assert torch.equal(first[1], second[1])
    assert torch.equal(first[3], second[3])


def test_a_short_last_micro_batch_keeps_the_shape_and_the_bits(unet: Any) -> None:
    recorded = Recorded(unet)
    engine = Engine(recorded, SCHEDULE, SHAPE, bucket_sizes=(1, 2, 4, 8))
    solver = SolverConfig(num_steps=5, guidance_interval=(0.3, 5.0))
    requests = [request(i, solver) for i in range(4)]
    images = engine.run(requests, 3)
    assert images.shape == (4, 16, 16, 3)
    assert images.dtype == np.uint8
    guided = solver_table(SCHEDULE, solver).guided
    assert 0 < guided.sum() < len(guided)
    assert recorded.batch_sizes == [6 if inside else 3 for inside in guided] * 2
    # Copies filled the last two places of the second micro-batch; with requests there, its first row is the same.
    assert np.array_equal(engine.run([*requests, request(7, solver), request(8, solver)], 3)[:4], images)


def test_a_second_run_gives_the_same_bytes(unet: Any) -> None:
    requests = [request(i, MIXED_SOLVERS[2]) for i in range(3)]
    first = Engine(unet, SCHEDULE, SHAPE).run(requests, 2)
    assert first.tobytes() == Engine(unet, SCHEDULE, SHAPE).run(requests, 2).tobytes()
