"""The engine's forwards, buckets and guidance; rows that leave; concurrent use; refused requests."""

import math
import pickle
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from support.rows import (
    MIXED_SOLVERS,
    SCHEDULE,
    SHAPE,
    AnalyticUnet,
    Recorded,
    alone,
    finish,
    float64_reference,
    request,
)
from synfundus.diffusion.config import SolverConfig
from synfundus.diffusion.engine import MAX_ACTIVE_ROWS, Engine, NonFiniteSampleError, RowRequest, to_uint8
from synfundus.diffusion.noise import sample_seed
from synfundus.diffusion.solvers import solver_table
from synfundus.errors import SynfundusError, WrongInputError
from synfundus.labels import null_condition

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_overlapping_rows_share_forwards(unet: Any) -> None:
    recorded = Recorded(unet)
    engine = Engine(recorded, SCHEDULE, SHAPE)
    first = engine.submit(request(0, SolverConfig(num_steps=40)))
    for _ in range(5):
        assert engine.tick() == []
    second = engine.submit(request(1, SolverConfig(num_steps=20)))
    images = finish(engine)
    assert set(images) == {first, second}
    # 20 + 40 row-steps in 40 forwards, because every step of the second row shares its forward.
    assert engine.num_forwards == len(recorded.batch_sizes) == 40
    assert recorded.batch_sizes == [2] * 5 + [4] * 20 + [2] * 15


def test_a_guidance_interval_saves_null_rows(unet: Any) -> None:
    recorded = Recorded(unet)
    engine = Engine(recorded, SCHEDULE, SHAPE, bucket_sizes=(1, 2, 3, 4, 5, 6))
    limited = SolverConfig(num_steps=20, guidance_scale=3.0, guidance_interval=(0.2, 4.0))
    for i, solver in enumerate(
        (
            limited,
            limited.model_copy(update={"guidance_interval": None}),
            SolverConfig(num_steps=20, guidance_scale=1.0),
        )
    ):
        engine.submit(request(i, solver))
    finish(engine)
    guided = solver_table(SCHEDULE, limited).guided
    assert 5 < guided.sum() < 15
    assert recorded.num_null_rows == [2 if inside else 1 for inside in guided]
    assert recorded.batch_sizes == [5 if inside else 4 for inside in guided]


def test_batches_are_padded_to_buckets_and_split_above_the_largest(unet: Any) -> None:
    recorded = Recorded(unet)
    engine = Engine(recorded, SCHEDULE, SHAPE, bucket_sizes=(2, 8))
    requests = [request(i, SolverConfig(num_steps=2)) for i in range(5)]
    tickets = [engine.submit(row) for row in requests]
    images = finish(engine)
    # Five rows and their five null rows: eight in one forward, two in the next.
    assert recorded.batch_sizes == [8, 2, 8, 2]
    assert engine.num_forwards == 4
    for ticket, row in zip(tickets, requests, strict=True):
        assert float((images[ticket] - alone(unet, row)).abs().max()) < 1e-4
    recorded.batch_sizes.clear()
    engine.submit(request(0, SolverConfig(num_steps=1)))
    engine.submit(request(1, SolverConfig(num_steps=1)))
    finish(engine)
    assert recorded.batch_sizes == [8]
    assert recorded.num_null_rows[-1] == 2


def test_cancel_removes_a_row_and_does_not_change_the_others(unet: Any) -> None:
    recorded = Recorded(unet)
    engine = Engine(recorded, SCHEDULE, SHAPE, bucket_sizes=(1, 2, 3, 4))
    solver = SolverConfig(num_steps=8, guidance_scale=1.0)
    kept, dropped, never_begun = (engine.submit(request(i, solver)) for i in range(3))
    engine.cancel(never_begun)
    for _ in range(3):
        engine.tick()
    assert engine.num_rows == 2
    engine.cancel(dropped)
    engine.cancel(999)
    images = finish(engine)
    assert set(images) == {kept}
    assert recorded.batch_sizes == [2, 2, 2, 1, 1, 1, 1, 1]
    assert float((images[kept] - alone(unet, request(0, solver))).abs().max()) < 1e-4
    engine.cancel(kept)
    assert engine.tick() == []
    assert recorded.batch_sizes == [2, 2, 2, 1, 1, 1, 1, 1]


def test_rows_beyond_the_limit_wait_their_turn(unet: Any) -> None:
    recorded = Recorded(unet)
    engine = Engine(recorded, SCHEDULE, SHAPE, bucket_sizes=(64, 128))
    solver = SolverConfig(num_steps=2, guidance_scale=1.0)
    tickets = [engine.submit(request(i, solver)) for i in range(MAX_ACTIVE_ROWS + 40)]
    assert engine.row_steps_left == 2 * (MAX_ACTIVE_ROWS + 40)
    engine.tick()
    assert engine.row_steps_left == MAX_ACTIVE_ROWS + 2 * 40
    for ticket in (tickets[0], tickets[-1]):  # one active row, one waiting row
        engine.cancel(ticket)
    images = finish(engine)
    assert list(images) == tickets[1:-1]  # first come, first served
    assert recorded.batch_sizes == [128, 128, 64, 64]
    assert engine.num_row_steps == 128 + 128 + 39 + 38
    assert engine.row_steps_left == 0


class PoisonedUnet(AnalyticUnet):
    """NaN for rows whose eye side is 1, once the timestep is below 500."""

    def __call__(self, x: Tensor, t: Tensor, encoder_hidden_states: None, class_labels: Tensor) -> Any:
        output = super().__call__(x, t, encoder_hidden_states, class_labels)
        output.sample[(class_labels[:, 4] == 1.0) & (t < 500)] = math.nan
        return output


def test_a_row_that_is_not_finite_is_named_and_does_not_change_the_others() -> None:
    engine = Engine(PoisonedUnet(), SCHEDULE, SHAPE)
    solver = SolverConfig(num_steps=6)
    good, bad = engine.submit(request(0, solver)), engine.submit(request(1, solver))
    later = engine.submit(request(2, solver.model_copy(update={"num_steps": 8})))
    for _ in range(5):
        assert engine.tick() == []
    with pytest.raises(NonFiniteSampleError, match=rf"ticket {bad} \(seed {sample_seed(3, 1, 0)}\)") as caught:
        engine.tick()
    assert isinstance(caught.value, SynfundusError)
    assert caught.value.tickets == (bad,)
    assert pickle.loads(pickle.dumps(caught.value)).tickets == (bad,)
    images = finish(engine)
    assert set(images) == {good, later}
    for ticket, i in ((good, 0), (later, 2)):
        row = request(i, solver if ticket == good else solver.model_copy(update={"num_steps": 8}))
        np.testing.assert_allclose(images[ticket].numpy(), float64_reference(row, SCHEDULE), rtol=0, atol=2e-4)


def test_lock_step_names_the_requests_that_are_not_finite() -> None:
    engine = Engine(PoisonedUnet(), SCHEDULE, SHAPE)
    requests = [request(i, SolverConfig(num_steps=3)) for i in (0, 2, 4, 6, 7)]
    assert engine.run(requests[:4], 2).shape == (4, 16, 16, 3)
    with pytest.raises(NonFiniteSampleError, match=r"not finite: ticket 4 \(seed") as caught:
        engine.run(requests, 2)
    assert caught.value.tickets == (4,)


def test_lock_step_does_not_change_active_rows() -> None:
    row = request(0, MIXED_SOLVERS[2])
    engine = Engine(AnalyticUnet(), SCHEDULE, SHAPE)
    ticket = engine.submit(row)
    for _ in range(4):
        engine.tick()
    engine.run([request(5, SolverConfig(num_steps=3))], 2)
    assert torch.equal(finish(engine)[ticket], alone(AnalyticUnet(), row))


def test_threads_may_submit_and_cancel_while_one_ticks() -> None:
    engine = Engine(AnalyticUnet(), SCHEDULE, (3, 4, 4))
    kept: list[list[int]] = [[], []]
    cancelled: list[int] = []

    def client(submitted: list[int]) -> None:
        for i in range(150):
            ticket = engine.submit(request(i, SolverConfig(num_steps=3 + i % 4)))
            if i % 5 == 0:
                engine.cancel(ticket)
                cancelled.append(ticket)
            else:
                submitted.append(ticket)

    threads = [threading.Thread(target=client, args=(tickets,)) for tickets in kept]
    for thread in threads:
        thread.start()
    finished: list[int] = []
    while engine.num_rows or any(thread.is_alive() for thread in threads):
        finished += [ticket for ticket, _ in engine.tick()]
    assert len(finished) == len(set(finished))
    assert sorted(finished) == sorted(kept[0] + kept[1])
    assert len(cancelled) == 60


def test_to_uint8_rounds_to_nearest() -> None:
    values = torch.tensor([-1.0, 1.0, 0.0, -2.0, 2.0, -1.0 + 0.4 / 127.5, -1.0 + 0.6 / 127.5, 1.0 - 0.4 / 127.5])
    image = to_uint8(values[None, None, None])
    assert image.shape == (1, 1, 8, 1)
    assert image.flatten().tolist() == [0, 255, 128, 0, 255, 0, 1, 255]
    levels = torch.arange(256)
    assert torch.equal(to_uint8((levels / 127.5 - 1.0)[None, None, None]).flatten().long(), levels)


def test_wrong_requests_are_refused_when_submitted() -> None:
    engine = Engine(AnalyticUnet(), SCHEDULE, SHAPE)
    solver, condition = SolverConfig(), null_condition()
    with pytest.raises(WrongInputError, match="36 finite numbers"):
        engine.submit(RowRequest(condition[:35], 0, solver))
    with pytest.raises(WrongInputError, match="36 finite numbers"):
        engine.submit(RowRequest(np.full(36, np.nan, np.float32), 0, solver))
    with pytest.raises(WrongInputError, match="seed: is -1"):
        engine.submit(RowRequest(condition, -1, solver))
    with pytest.raises(WrongInputError, match="seed: is 9007199254740992"):
        engine.submit(RowRequest(condition, 2**53, solver))
    with pytest.raises(WrongInputError, match="num_steps is 1001"):
        engine.submit(RowRequest(condition, 0, SolverConfig(num_steps=1001)))
    assert engine.num_rows == 0


def test_wrong_arguments_are_refused(unet: Any) -> None:
    engine = Engine(AnalyticUnet(), SCHEDULE, SHAPE)
    with pytest.raises(ValueError, match="one solver for all requests"):
        engine.run([request(0, MIXED_SOLVERS[0]), request(1, MIXED_SOLVERS[1])], 2)
    with pytest.raises(ValueError, match="ascending"):
        Engine(unet, SCHEDULE, SHAPE, bucket_sizes=(4, 2))
    with pytest.raises(ValueError, match="float32 or bfloat16"):
        Engine(unet, SCHEDULE, SHAPE, dtype=torch.float16)


def test_an_idle_engine_does_nothing() -> None:
    engine = Engine(AnalyticUnet(), SCHEDULE, SHAPE)
    assert engine.tick() == []
    assert engine.num_forwards == 0
    assert engine.run([], 4).shape == (0, 16, 16, 3)
