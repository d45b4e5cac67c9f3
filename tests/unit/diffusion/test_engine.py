"""The engine with a real U-Net (small, random) and with analytic ones: what a row may depend on and must equal."""

import math
import pickle
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor

from synfundus.diffusion.config import ScheduleConfig, SolverConfig
from synfundus.diffusion.engine import MAX_ACTIVE_ROWS, Engine, NonFiniteSampleError, RowRequest, to_uint8
from synfundus.diffusion.noise import normal, sample_seed
from synfundus.diffusion.schedule import Schedule
from synfundus.diffusion.solvers import solver_table
from synfundus.errors import SynfundusError, WrongInputError
from synfundus.labels import encode_conditions, null_condition

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPE = (3, 16, 16)
SCHEDULE = ScheduleConfig(kind="cosine", prediction="v")
MIXED_SOLVERS = (
    SolverConfig(name="ddim", num_steps=12, guidance_scale=3.0),
    SolverConfig(name="dpmpp-2m", num_steps=7, guidance_scale=1.0),
    SolverConfig(name="ddpm", num_steps=15, guidance_scale=2.0, guidance_interval=(0.3, 5.0)),
    SolverConfig(name="ddim", num_steps=9, eta=0.7, guidance_scale=1.5),
    SolverConfig(name="dpmpp-2m", num_steps=11, guidance_scale=4.0, guidance_interval=(0.2, 3.0)),
)


@pytest.fixture(scope="module")
def unet() -> Any:
    """The generator's architecture, small, with weights large enough that the condition shows in the image."""
    torch.manual_seed(0)
    model: Any = UNet2DConditionModel(
        sample_size=SHAPE[1],
        in_channels=3,
        out_channels=3,
        block_out_channels=(32, 64),
        norm_num_groups=8,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("UpBlock2D", "UpBlock2D"),
        cross_attention_dim=64,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=36,
    )
    with torch.no_grad():
        model.conv_out.weight.mul_(2.0)
        model.class_embedding.linear_2.weight.mul_(10.0)
    return model


class Recorded:
    """A U-Net that notes the batch size of each forward and how many of its rows had the null condition."""

    def __init__(self, unet: Any) -> None:
        self.unet = unet
        self.batch_sizes: list[int] = []
        self.num_null_rows: list[int] = []

    def __call__(self, x: Tensor, t: Tensor, encoder_hidden_states: None, class_labels: Tensor) -> Any:
        self.batch_sizes.append(len(x))
        self.num_null_rows.append(int(class_labels[:, -1].sum()))
        return self.unet(x, t, encoder_hidden_states=encoder_hidden_states, class_labels=class_labels)


def request(i: int, solver: SolverConfig) -> RowRequest:
    row = {"dr_grade": i % 5, "eye_side": i % 2, "is_amd": (i // 2) % 2, "is_fundus": 1}
    return RowRequest(encode_conditions([row])[0], sample_seed(3, i, 0), solver)


def finish(engine: Engine) -> dict[int, Tensor]:
    images: dict[int, Tensor] = {}
    while engine.num_rows:
        images.update(engine.tick())
    return images


def alone(unet: Any, row: RowRequest, dtype: torch.dtype = torch.float32) -> Tensor:
    engine = Engine(unet, SCHEDULE, SHAPE, dtype=dtype)
    ticket = engine.submit(row)
    return finish(engine)[ticket]


def staggered(engine: Engine, requests: Sequence[RowRequest], every: int) -> list[Tensor]:
    """Submit one request every `every` ticks; the images in the order of the requests."""
    tickets: list[int] = []
    images: dict[int, Tensor] = {}
    waiting = list(requests)
    for tick in range(10_000):
        if waiting and tick % every == 0:
            tickets.append(engine.submit(waiting.pop(0)))
        images.update(engine.tick())
        if not waiting and not engine.num_rows:
            return [images[ticket] for ticket in tickets]
    raise AssertionError("the engine does not finish")


# --- each row equals its run alone --------------------------------------------------------------------------------


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
    # The bound means something: images differ from each other, in their conditions alone too, and fill the range.
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


# --- at a fixed batch shape, bit for bit --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_at_a_fixed_batch_shape_a_row_is_bit_equal_whatever_its_neighbours(unet: Any, dtype: torch.dtype) -> None:
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
    # The last two places of the second micro-batch held copies; with requests in them its first row is the same.
    assert np.array_equal(engine.run([*requests, request(7, solver), request(8, solver)], 3)[:4], images)


def test_a_second_run_gives_the_same_bytes(unet: Any) -> None:
    requests = [request(i, MIXED_SOLVERS[2]) for i in range(3)]
    first = Engine(unet, SCHEDULE, SHAPE).run(requests, 2)
    assert first.tobytes() == Engine(unet, SCHEDULE, SHAPE).run(requests, 2).tobytes()


# --- diffusers and closed forms -----------------------------------------------------------------------------------


def diffusers_loop(unet: Any, scheduler: Any, rows: Sequence[RowRequest]) -> Tensor:
    """What a reader of a saved generator writes: diffusers' scheduler, guidance by hand, the same initial noise."""
    solver = rows[0].solver
    scheduler.set_timesteps(solver.num_steps)
    x = normal(torch.tensor([row.seed for row in rows]), 0, SHAPE)
    condition = torch.from_numpy(np.stack([row.condition for row in rows]))
    null = torch.from_numpy(null_condition()).expand_as(condition)
    with torch.no_grad():
        for t in scheduler.timesteps:
            both = unet(torch.cat((x, x)), t, encoder_hidden_states=None, class_labels=torch.cat((condition, null)))
            conditional, unconditional = both.sample.chunk(2)
            output = unconditional + solver.guidance_scale * (conditional - unconditional)
            x = scheduler.step(output, t, x).prev_sample
    return x


class EpsilonOf:
    """A network that predicts v, asked for epsilon: eps = alpha v + sigma x."""

    def __init__(self, unet: Any, schedule: ScheduleConfig) -> None:
        self.unet, self.schedule = unet, Schedule(schedule)

    def __call__(self, x: Tensor, t: Tensor, encoder_hidden_states: None, class_labels: Tensor) -> Any:
        v = self.unet(x, t, encoder_hidden_states=encoder_hidden_states, class_labels=class_labels).sample
        alpha, sigma = (level[t].float().view(-1, 1, 1, 1) for level in (self.schedule.alpha_t, self.schedule.sigma_t))
        return SimpleNamespace(sample=alpha * v + sigma * x)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_lock_step_ddim_equals_the_loop_of_diffusers(unet: Any, prediction: str) -> None:
    schedule = ScheduleConfig.model_validate({"kind": "linear", "prediction": prediction})
    network = EpsilonOf(unet, schedule) if prediction == "epsilon" else unet
    rows = [request(i, SolverConfig(num_steps=10, guidance_scale=2.5)) for i in range(4)]
    engine = Engine(network, schedule, SHAPE, bucket_sizes=(4, 8))
    tickets = [engine.submit(row) for row in rows]
    images = finish(engine)
    ours = torch.stack([images[ticket] for ticket in tickets])
    theirs = diffusers_loop(network, DDIMScheduler.from_config(Schedule(schedule).scheduler_config()), rows)
    assert float((ours - theirs.clamp(-1.0, 1.0)).abs().max()) < 1e-4
    uint8 = to_uint8(theirs).numpy().astype(int)
    assert np.abs(engine.run(rows, 4).astype(int) - uint8).max() <= 1


def test_lock_step_dpmpp_equals_the_loop_of_diffusers(unet: Any) -> None:
    rows = [request(i, SolverConfig(name="dpmpp-2m", num_steps=10, guidance_scale=2.5)) for i in range(4)]
    saved = Schedule(SCHEDULE).scheduler_config()
    scheduler = DPMSolverMultistepScheduler.from_config(saved, thresholding=True, sample_max_value=1.0)
    theirs = to_uint8(diffusers_loop(unet, scheduler, rows)).numpy().astype(int)
    assert np.abs(Engine(unet, SCHEDULE, SHAPE).run(rows, 4).astype(int) - theirs).max() <= 1


class AnalyticUnet:
    """v or eps as a smooth function of pixel, timestep and condition, row by row, in the precision of its input."""

    @staticmethod
    def value(x: Any, t: Any, level: Any, library: Any) -> Any:
        return 0.8 * library.tanh(x) * library.cos(t / 400.0) + 0.3 * level

    def __call__(self, x: Tensor, t: Tensor, encoder_hidden_states: None, class_labels: Tensor) -> Any:
        level = class_labels[:, 0] + 2.0 * class_labels[:, -1]
        return SimpleNamespace(sample=self.value(x, t[:, None, None, None], level[:, None, None, None], torch))


def float64_reference(row: RowRequest, schedule: ScheduleConfig) -> NDArray[np.float64]:
    """One row, in float64 and by the definitions of guidance and of a step, without the engine."""
    table, solver = solver_table(schedule, row.solver), row.solver
    seed = torch.tensor([row.seed])
    x = normal(seed, 0, SHAPE)[0].double().numpy()
    x0_prev = np.zeros_like(x)
    for i in range(table.num_steps):
        output = AnalyticUnet.value(x, table.t[i], float(row.condition[0]), np)
        level, interval = table.sigma[i] / table.alpha[i], solver.guidance_interval
        if interval is None or interval[0] < level <= interval[1]:
            null = AnalyticUnet.value(x, table.t[i], 2.0, np)
            output = null + solver.guidance_scale * (output - null)
        alpha, sigma = table.alpha[i], table.sigma[i]
        x0 = alpha * x - sigma * output if schedule.prediction == "v" else (x - sigma * output) / alpha
        eps = alpha * output + sigma * x if schedule.prediction == "v" else output
        x0 = x0.clip(-1.0, 1.0) if solver.clip else x0
        noise = normal(seed, i + 1, SHAPE)[0].double().numpy()
        x = table.cx[i] * x + table.c0[i] * x0 + table.c0p[i] * x0_prev + table.ce[i] * eps + table.cn[i] * noise
        x0_prev = x0
    return np.asarray(x.clip(-1.0, 1.0))


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_mixed_rows_equal_the_float64_reference(prediction: str) -> None:
    schedule = ScheduleConfig.model_validate({"kind": "linear", "prediction": prediction})
    solvers = [*MIXED_SOLVERS, MIXED_SOLVERS[0].model_copy(update={"clip": False, "guidance_scale": 1.0})]
    requests = [request(i, solver) for i, solver in enumerate(solvers)]
    images = staggered(Engine(AnalyticUnet(), schedule, SHAPE), requests, every=2)
    for image, row in zip(images, requests, strict=True):
        # float32 against float64; with epsilon, x0 divides a difference by alpha, which begins at 0.0064.
        np.testing.assert_allclose(image.numpy(), float64_reference(row, schedule), rtol=0, atol=2e-4)
    assert sum(float(image.std()) > 0.05 for image in images) >= 3


# --- forwards, buckets, guidance ----------------------------------------------------------------------------------


def test_overlapping_rows_share_forwards(unet: Any) -> None:
    recorded = Recorded(unet)
    engine = Engine(recorded, SCHEDULE, SHAPE)
    first = engine.submit(request(0, SolverConfig(num_steps=40)))
    for _ in range(5):
        assert engine.tick() == []
    second = engine.submit(request(1, SolverConfig(num_steps=20)))
    images = finish(engine)
    assert set(images) == {first, second}
    # 20 + 40 row steps in 40 forwards, fewer than the 60 of one after the other: every step of the second is shared.
    assert engine.num_forwards == len(recorded.batch_sizes) == 40
    assert recorded.batch_sizes == [2] * 5 + [4] * 20 + [2] * 15


def test_a_guidance_interval_saves_null_rows(unet: Any) -> None:
    recorded = Recorded(unet)
    engine = Engine(recorded, SCHEDULE, SHAPE, bucket_sizes=(1, 2, 3, 4, 5, 6))
    part = SolverConfig(num_steps=20, guidance_scale=3.0, guidance_interval=(0.2, 4.0))
    for i, solver in enumerate(
        (part, part.model_copy(update={"guidance_interval": None}), SolverConfig(num_steps=20, guidance_scale=1.0))
    ):
        engine.submit(request(i, solver))
    finish(engine)
    guided = solver_table(SCHEDULE, part).guided
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


# --- leaving ------------------------------------------------------------------------------------------------------


def test_cancel_removes_a_row_and_leaves_the_others_alone(unet: Any) -> None:
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


def test_more_rows_than_there_is_room_for_wait_their_turn(unet: Any) -> None:
    recorded = Recorded(unet)
    engine = Engine(recorded, SCHEDULE, SHAPE, bucket_sizes=(64, 128))
    solver = SolverConfig(num_steps=2, guidance_scale=1.0)
    tickets = [engine.submit(request(i, solver)) for i in range(MAX_ACTIVE_ROWS + 40)]
    assert engine.row_steps_left == 2 * (MAX_ACTIVE_ROWS + 40)
    engine.tick()
    assert engine.row_steps_left == MAX_ACTIVE_ROWS + 2 * 40
    for ticket in (tickets[0], tickets[-1]):  # one under way, one that waits
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


def test_a_row_that_is_not_finite_is_named_and_spares_the_others() -> None:
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


# --- use ----------------------------------------------------------------------------------------------------------


def test_lock_step_does_not_disturb_rows_under_way() -> None:
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

    def client(mine: list[int]) -> None:
        for i in range(150):
            ticket = engine.submit(request(i, SolverConfig(num_steps=3 + i % 4)))
            if i % 5 == 0:
                engine.cancel(ticket)
                cancelled.append(ticket)
            else:
                mine.append(ticket)

    threads = [threading.Thread(target=client, args=(mine,)) for mine in kept]
    for thread in threads:
        thread.start()
    finished: list[int] = []
    while engine.num_rows or any(thread.is_alive() for thread in threads):
        finished += [ticket for ticket, _ in engine.tick()]
    assert len(finished) == len(set(finished))
    assert sorted(finished) == sorted(kept[0] + kept[1])
    assert len(cancelled) == 60


def test_to_uint8_rounds_to_the_nearest() -> None:
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
    with pytest.raises(WrongInputError, match="seed is -1"):
        engine.submit(RowRequest(condition, -1, solver))
    with pytest.raises(WrongInputError, match="seed is 9007199254740992"):
        engine.submit(RowRequest(condition, 2**53, solver))
    with pytest.raises(WrongInputError, match="num_steps is 1001"):
        engine.submit(RowRequest(condition, 0, SolverConfig(num_steps=1001)))
    assert engine.num_rows == 0


def test_wrong_use_is_refused(unet: Any) -> None:
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
