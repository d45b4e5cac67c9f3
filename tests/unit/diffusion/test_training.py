"""The generator's training: each draw against its closed form, the loss against diffusers, resume, divergence."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from scipy.stats import kstest, norm
from torch import Tensor

from synfundus.diffusion.config import GeneratorConfig, ScheduleConfig, UNetConfig
from synfundus.diffusion.engine import Engine, RowRequest
from synfundus.diffusion.noise import normal
from synfundus.diffusion.schedule import Schedule
from synfundus.diffusion.training import (
    MAX_LOSS_RATIO,
    GeneratorLearner,
    ema_decay_at,
    loss_weight,
    mask_conditions,
    stratified_uniform,
    timesteps_at,
)
from synfundus.errors import TrainingDivergedError, WrongInputError
from synfundus.fundus.dataset import ImageBatch
from synfundus.labels import HEADS, LABEL_NAMES, NULL_INDEX, NUM_LABELS, NUM_VALUES, encode_values, null_condition
from synfundus.seeds import derive_seed
from synfundus.training.learner import image_indices

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CPU = torch.device("cpu")
SIDE, GLAUCOMA = HEADS["eye_side"].start, HEADS["is_gc"].start
SIDE_FLAG, GRADE_FLAG = NUM_VALUES + LABEL_NAMES.index("eye_side"), NUM_VALUES
BETA_SCHEDULES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
TINY = GeneratorConfig.model_validate(
    {
        "unet": {"size_px": 8, "channels": (8, 16), "norm_num_groups": 4},
        "num_steps": 20,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "warmup_steps": 2,
        "precision": "fp32",
        "num_threads": 1,
        "sheet_num_columns": 3,
        "sheet_solver": {"name": "ddim", "num_steps": 4, "guidance_scale": 2.0},
    }
)


class Spots:
    """Images whose labels can be seen: the bright half is the right one in a right eye. The side of every fifth is
    unknown, glaucoma is a filled label of probability 0.3."""

    size_px = 8
    unknown_side_every = 5

    def __init__(self, num_images: int = 40) -> None:
        self._num_images = num_images

    num_cached = 10_000

    def num_images(self, split: str) -> int:
        return self._num_images if split == "train" else 0

    def batch(self, split: str, indices: Sequence[int] | NDArray[np.int64]) -> ImageBatch:
        assert split == "train"
        rows = [{"eye_side": int(i) % 2, "dr_grade": int(i) % 5, "is_fundus": 1} for i in indices]
        p_BV, expert_BK = encode_values(rows)
        unknown_B = np.array([int(i) % self.unknown_side_every == self.unknown_side_every - 1 for i in indices])
        p_BV[unknown_B, SIDE], expert_BK[unknown_B, LABEL_NAMES.index("eye_side")] = 0.0, False
        known_BK = expert_BK.copy()
        p_BV[:, GLAUCOMA], known_BK[:, LABEL_NAMES.index("is_gc")] = 0.3, True
        images_BHWC = np.stack([self.pixels(int(i)) for i in indices])
        return ImageBatch(images_BHWC, p_BV, known_BK, expert_BK, [str(i) for i in indices], [str(i) for i in indices])

    def pixels(self, index: int) -> NDArray[np.uint8]:
        image_HWC = np.random.default_rng(index).integers(0, 60, (self.size_px, self.size_px, 3)).astype(np.uint8)
        half = slice(self.size_px // 2, None) if index % 2 == 0 else slice(0, self.size_px // 2)
        image_HWC[:, half] += np.uint8(150)
        return image_HWC


def changed(**changes: Any) -> GeneratorConfig:
    return GeneratorConfig.model_validate(TINY.model_dump() | changes)


def learner_of(config: GeneratorConfig = TINY, *, perturb: bool = False, num_images: int = 40) -> GeneratorLearner:
    """A learner; perturbed: the last convolution is not zero, so that every weight has a gradient."""
    learner = GeneratorLearner(Spots(num_images), config, CPU)
    if perturb:
        generator = torch.Generator().manual_seed(2)
        for network in (learner.network, learner.ema_network):
            last: Any = network.conv_out
            with torch.no_grad():
                last.weight.copy_(0.1 * torch.randn(last.weight.shape, generator=generator.manual_seed(2)))
    return learner


def set_bias(learner: GeneratorLearner, value: float) -> None:
    """The network now answers this number everywhere, as the last convolution's weights are still 0."""
    last: Any = learner.network.conv_out
    with torch.no_grad():
        last.bias.fill_(value)


# --- averaged weights ---------------------------------------------------------------------------------------------


def test_ema_decay_grows_from_a_tenth_to_its_limit() -> None:
    assert [ema_decay_at(step, 0.999) for step in (0, 1, 8)] == pytest.approx([1 / 10, 2 / 11, 9 / 18])
    # (1 + s) / (10 + s) reaches 0.999 at s = 8990.
    assert ema_decay_at(8989, 0.999) < 0.999
    assert ema_decay_at(8990, 0.999) == ema_decay_at(10**6, 0.999) == 0.999


def test_ema_of_a_ramp_lags_a_tenth_of_the_run_behind_and_then_its_decay_time() -> None:
    """Closed forms: 0.9 s from m' = 9 (s - m) / s, and s - d / (1 - d) at a constant decay d."""
    mean = 0.0
    for step in range(5001):
        decay = ema_decay_at(step, 0.999)
        mean = decay * mean + (1.0 - decay) * step
    assert mean == pytest.approx(0.9 * 5000, rel=1e-3)
    mean = 0.0
    for step in range(5001):
        decay = ema_decay_at(step, 0.9)
        mean = decay * mean + (1.0 - decay) * step
    assert mean == pytest.approx(5000 - 0.9 / 0.1, rel=1e-9)


def test_averaged_weights_equal_a_float64_reference() -> None:
    learner = learner_of(changed(ema_decay=0.4))
    reference = {name: value.detach().double() for name, value in learner.network.named_parameters()}
    for step in range(8):
        learner.train_step(step)
        decay = min(0.4, (1 + step) / (10 + step))
        for name, value in learner.network.named_parameters():
            reference[name] = decay * reference[name] + (1.0 - decay) * value.detach().double()
    averaged = dict(learner.ema_network.named_parameters())
    assert averaged.keys() == reference.keys()
    for name, expected in reference.items():
        torch.testing.assert_close(averaged[name].double(), expected, rtol=1e-6, atol=1e-8)
    ours = learner.network.get_parameter("conv_out.weight").detach()
    assert float((averaged["conv_out.weight"] - ours).abs().max()) > 1e-4


# --- timesteps ----------------------------------------------------------------------------------------------------


def test_stratified_numbers_are_a_pure_function_of_seed_and_position() -> None:
    whole = stratified_uniform(1, range(40), 8)
    assert whole.dtype == torch.float64
    assert torch.equal(stratified_uniform(1, range(13, 29), 8), whole[13:29])
    halves = [stratified_uniform(1, range(start, start + 4), 8) for start in (16, 20)]
    assert torch.equal(torch.cat(halves), whole[16:24])
    assert not torch.equal(stratified_uniform(2, range(40), 8), whole)


def test_stratified_numbers_are_uniform_and_batches_are_independent() -> None:
    batches = stratified_uniform(3, range(16 * 2000), 16).numpy().reshape(2000, 16)
    assert 0.0 <= batches.min() < 1e-3
    assert 1.0 - 1e-3 < batches.max() < 1.0
    # Each place in the batch by itself is uniform, and knows nothing of the batch before.
    for place in (0, 7, 15):
        assert kstest(batches[:, place], "uniform").pvalue > 0.01
    assert abs(np.corrcoef(batches[1:, 0], batches[:-1, 0])[0, 1]) < 3 / math.sqrt(2000)


@pytest.mark.parametrize("batch_size", [2, 5, 16, 64])
@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_batch_and_each_workers_part_are_evenly_spread(batch_size: int, num_workers: int) -> None:
    """Steps of the golden ratio leave no gap on the circle wider than 2 / n (independent draws: about ln(n) / n)."""
    share = batch_size // num_workers
    for batch in range(20):
        start = batch * batch_size
        numbers = stratified_uniform(5, range(start, start + share), batch_size).sort().values.numpy()
        gaps = np.diff(np.append(numbers, numbers[0] + 1.0))
        assert gaps.max() <= 2.0 / share
        assert share == 1 or gaps.min() >= 0.38 / share


def test_the_mean_over_a_batch_varies_less_than_that_of_independent_draws() -> None:
    batches = stratified_uniform(3, range(16 * 1000), 16).numpy().reshape(1000, 16)
    for function in (np.square, lambda u: np.sin(np.pi * u)):
        independent = function(batches.ravel()).var() / 16
        assert function(batches).mean(axis=1).var() < independent / 5


def test_uniform_timesteps_are_each_as_likely() -> None:
    schedule = Schedule(TINY.schedule)
    quantiles = (torch.arange(3000, dtype=torch.float64) + 0.5) / 3000
    assert torch.equal(timesteps_at(quantiles, TINY, schedule), torch.arange(1000).repeat_interleave(3))
    edges = torch.tensor([0.0, math.nextafter(1.0, 0.0)], dtype=torch.float64)
    assert timesteps_at(edges, TINY, schedule).tolist() == [0, 999]


@pytest.mark.parametrize(("mean", "std", "kind"), [(-1.2, 1.2, "cosine"), (0.4, 0.8, "linear"), (0.0, 1.0, "shifted")])
def test_log_normal_timesteps_have_the_moments_and_quantiles_of_their_noise_level(
    mean: float, std: float, kind: str
) -> None:
    schedule_config = {"kind": kind, "log_snr_shift": -1.4 if kind == "shifted" else 0.0}
    config = changed(timestep_sampling="log-normal", log_normal_mean=mean, log_normal_std=std, schedule=schedule_config)
    schedule = Schedule(config.schedule)
    quantiles = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    t = timesteps_at(quantiles, config, schedule)
    levels = (schedule.sigma_t / schedule.alpha_t).log()
    drawn = levels[t].numpy()
    assert drawn.mean() == pytest.approx(mean, abs=0.01)
    assert drawn.std() == pytest.approx(std, abs=0.01)
    expected = norm.ppf((0.05, 0.25, 0.5, 0.75, 0.95), loc=mean, scale=std)
    np.testing.assert_allclose(np.quantile(drawn, (0.05, 0.25, 0.5, 0.75, 0.95)), expected, atol=0.02)
    # The nearest level, not the one above or below.
    asked = norm.ppf(quantiles[::997].numpy(), loc=mean, scale=std)
    nearest = np.abs(levels.numpy()[None] - asked[:, None]).argmin(axis=1)
    np.testing.assert_array_equal(t[::997].numpy(), nearest)
    assert timesteps_at(torch.zeros(1, dtype=torch.float64), config, schedule).tolist() == [0]


# --- weights of the loss ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_min_snr_weights_equal_those_of_hang_et_al(kind: str) -> None:
    """min(SNR, gamma) / SNR for eps and min(SNR, gamma) / (SNR + 1) for v, with the SNR of diffusers' scheduler."""
    t_B = torch.tensor([0, 10, 100, 300, 500, 700, 900, 990])
    alphas_cumprod = DDPMScheduler(beta_schedule=BETA_SCHEDULES[kind]).alphas_cumprod[t_B].double()
    snr_B = alphas_cumprod / (1.0 - alphas_cumprod)
    assert float(snr_B.max()) > 5.0 > float(snr_B.min())
    for prediction, shift in (("epsilon", 0.0), ("v", 1.0)):
        schedule = Schedule(ScheduleConfig.model_validate({"kind": kind, "prediction": prediction}))
        expected = snr_B.clamp(max=5.0) / (snr_B + shift)
        torch.testing.assert_close(loss_weight(t_B, schedule, 5.0).double(), expected, rtol=1e-3, atol=0.0)
        assert torch.equal(loss_weight(t_B, schedule, None), torch.ones(8))


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_the_weighted_error_is_min_snr_times_that_of_the_clean_image(prediction: str) -> None:
    schedule = Schedule(ScheduleConfig.model_validate({"prediction": prediction}))
    t_B = torch.tensor([3, 120, 480, 760, 930])
    generator = torch.Generator().manual_seed(0)
    x0, eps, output = torch.randn(3, 5, 1, 4, 4, generator=generator, dtype=torch.float64)
    x_t = schedule.add_noise(x0, eps, t_B)
    error = (output - schedule.target(x0, eps, t_B)).square().mean(dim=(1, 2, 3))
    error_of_x0 = (schedule.x0_from_output(x_t, output, t_B) - x0).square().mean(dim=(1, 2, 3))
    expected = schedule.snr(t_B).clamp(max=5.0) * error_of_x0
    torch.testing.assert_close(loss_weight(t_B, schedule, 5.0).double() * error, expected, rtol=1e-6, atol=0.0)


# --- conditions and flips -----------------------------------------------------------------------------------------


def test_unknown_and_null_are_apart_and_soft_labels_condition_with_their_probability() -> None:
    p_BV, known_BK = np.zeros((4, NUM_VALUES), np.float32), np.zeros((4, NUM_LABELS), np.bool_)
    p_BV[:, :4], known_BK[:, 0] = (1, 1, 0, 0), True  # grade 2
    p_BV[:, GLAUCOMA], known_BK[:, LABEL_NAMES.index("is_gc")] = 0.3, True
    hidden_BK, null_B = np.zeros_like(known_BK), np.array([False, False, False, True])
    hidden_BK[1, 0], hidden_BK[2] = True, True
    full, without_grade, nothing, null = mask_conditions(p_BV, known_BK, hidden_BK, null_B)
    gc_flag = NUM_VALUES + LABEL_NAMES.index("is_gc")
    expected = np.zeros(36, np.float32)
    expected[[GLAUCOMA, gc_flag]] = -0.4, 1.0
    np.testing.assert_allclose(without_grade, expected, atol=1e-7)
    expected[[0, 1, 2, 3, GRADE_FLAG]] = 1, 1, -1, -1, 1
    np.testing.assert_allclose(full, expected, atol=1e-7)
    np.testing.assert_array_equal(nothing, np.zeros(36))
    np.testing.assert_array_equal(null, null_condition())


def test_conditions_are_dropped_and_labels_hidden_at_their_rates_and_independently() -> None:
    num, null_rate, hidden_rate = 6000, 0.15, 0.25
    learner = learner_of(changed(null_probability=null_rate, unknown_probability=hidden_rate))
    condition_BD = learner._inputs(range(num))[1].numpy()
    null_B = condition_BD[:, NULL_INDEX] == 1.0
    assert null_B.mean() == pytest.approx(null_rate, abs=4 * math.sqrt(null_rate * (1 - null_rate) / num))
    np.testing.assert_array_equal(condition_BD[null_B], np.tile(null_condition(), (null_B.sum(), 1)))
    rest = condition_BD[~null_B]
    flags = rest[:, NUM_VALUES:NULL_INDEX]
    bound = 4 * math.sqrt(hidden_rate * (1 - hidden_rate) / len(rest))
    columns = [LABEL_NAMES.index(name) for name in ("dr_grade", "is_gc", "is_fundus")]
    assert flags[:, columns].mean(axis=0) == pytest.approx(1 - hidden_rate, abs=bound)
    # A fifth of the sides is unknown to begin with.
    assert flags[:, LABEL_NAMES.index("eye_side")].mean() == pytest.approx(0.8 * (1 - hidden_rate), abs=1.5 * bound)
    assert np.abs(np.corrcoef(flags[:, columns].T) - np.eye(3)).max() < 4 / math.sqrt(len(rest))
    # The four numbers of a grade are there together or not at all, and a hidden value is 0.
    np.testing.assert_array_equal(np.abs(rest[:, :4]), np.repeat(flags[:, :1], 4, axis=1))
    np.testing.assert_allclose(rest[:, GLAUCOMA], -0.4 * flags[:, LABEL_NAMES.index("is_gc")], atol=1e-6)


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_a_flip_mirrors_the_image_and_swaps_its_side(probability: float) -> None:
    learner = learner_of(changed(flip_probability=probability, null_probability=0.0, unknown_probability=0.0))
    num = 400
    x0_BCHW, condition = learner._inputs(range(num))
    indices = image_indices(TINY.seed, range(num), 40, Spots.num_cached)
    plain_BHWC = np.stack([Spots().pixels(int(i)) for i in indices])
    x0_BHWC = np.rint((x0_BCHW.permute(0, 2, 3, 1).numpy() + 1.0) * 127.5).astype(np.uint8)
    flipped_B = (x0_BHWC == plain_BHWC[:, :, ::-1]).all(axis=(1, 2, 3))
    assert ((x0_BHWC == plain_BHWC).all(axis=(1, 2, 3)) ^ flipped_B).all()
    assert flipped_B.mean() == pytest.approx(probability, abs=4 * math.sqrt(0.25 / num) if probability == 0.5 else 0)
    known_B = indices % Spots.unknown_side_every != Spots.unknown_side_every - 1
    condition_BD = condition.numpy()
    np.testing.assert_array_equal(condition_BD[:, SIDE_FLAG], known_B)
    np.testing.assert_array_equal(condition_BD[~known_B, SIDE], 0.0)
    # What the picture shows and what the condition says are the same: right half bright, side -1 (right).
    left_bright_B = x0_BHWC[:, :, :4].mean(axis=(1, 2, 3)) > x0_BHWC[:, :, 4:].mean(axis=(1, 2, 3))
    np.testing.assert_array_equal(condition_BD[known_B, SIDE], np.where(left_bright_B[known_B], 1.0, -1.0))
    grades = (condition_BD[:, :4] > 0).sum(axis=1)
    np.testing.assert_array_equal(grades, indices % 5)


def test_a_samples_draws_do_not_depend_on_its_micro_batch() -> None:
    learner = learner_of()
    x0_BCHW, condition_BD = learner._inputs(range(24))
    for part in (range(3), range(5, 21)):
        x0_part, condition_part = learner._inputs(part)
        assert torch.equal(x0_part, x0_BCHW[part.start : part.stop])
        assert torch.equal(condition_part, condition_BD[part.start : part.stop])


# --- the loss -----------------------------------------------------------------------------------------------------


def _recorded_loss(learner: GeneratorLearner, positions: range) -> tuple[float, dict[str, Tensor]]:
    """The loss, and what went into the network and came out of it."""
    seen: dict[str, Tensor] = {}

    def note(module: Any, args: tuple[Tensor, Tensor], kwargs: dict[str, Any], output: tuple[Tensor]) -> None:
        seen.update(x_t=args[0], t=args[1], condition=kwargs["class_labels"], output=output[0].detach().float())

    hook = learner.network.register_forward_hook(note, with_kwargs=True)
    loss = float(learner.loss(positions).detach())
    hook.remove()
    return loss, seen


@pytest.mark.parametrize("sampling", ["uniform", "log-normal"])
@pytest.mark.parametrize("gamma", [None, 5.0])
@pytest.mark.parametrize(("prediction", "kind"), [("epsilon", "linear"), ("v", "cosine"), ("v", "linear")])
def test_the_loss_equals_one_made_with_diffusers_scheduler(
    prediction: str, kind: str, gamma: float | None, sampling: str
) -> None:
    config = changed(
        schedule={"kind": kind, "prediction": prediction},
        min_snr_gamma=gamma,
        timestep_sampling=sampling,
        batch_size=16,
    )
    learner = learner_of(config, perturb=True)
    positions = range(32, 48)
    loss, seen = _recorded_loss(learner, positions)
    x0_BCHW, condition_BD = learner._inputs(positions)
    assert torch.equal(seen["condition"], condition_BD)
    scheduler = DDPMScheduler(beta_schedule=BETA_SCHEDULES[kind])
    seeds_B = torch.full((16,), derive_seed("draws", config.seed))
    eps_BCHW = normal(seeds_B, torch.arange(32, 48), (3, 8, 8))
    t_B = seen["t"]
    assert len(set(t_B.tolist())) > 8
    # diffusers makes its tables in float32.
    torch.testing.assert_close(seen["x_t"], scheduler.add_noise(x0_BCHW, eps_BCHW, t_B), rtol=0, atol=2e-4)
    target = eps_BCHW if prediction == "epsilon" else scheduler.get_velocity(x0_BCHW, eps_BCHW, t_B)
    error_B = (seen["output"] - target).square().mean(dim=(1, 2, 3))
    if gamma is not None:
        snr_B = scheduler.alphas_cumprod[t_B] / (1.0 - scheduler.alphas_cumprod[t_B])
        error_B = error_B * snr_B.clamp(max=gamma) / (snr_B if prediction == "epsilon" else snr_B + 1.0)
    assert loss == pytest.approx(float(error_B.mean()), rel=5e-4)
    assert float(seen["output"].std()) > 0.1


def test_bf16_changes_the_loss_by_less_than_a_hundredth_and_leaves_the_weights_fp32() -> None:
    exact, rough = learner_of(perturb=True), learner_of(changed(precision="bf16"), perturb=True)
    loss = exact.train_step(0)["loss"]
    loss_bf16 = rough.train_step(0)["loss"]
    assert loss_bf16 != loss
    assert loss_bf16 == pytest.approx(loss, rel=0.01)
    for learner in (exact, rough):
        weight = learner.network.get_parameter("conv_in.weight")
        assert weight.dtype == torch.float32
        assert weight.is_contiguous(memory_format=torch.channels_last)


def _gradients(learner: GeneratorLearner) -> dict[str, Tensor]:
    """As `train_step` makes them, before clipping."""
    learner.network.train()
    learner.optimizer.zero_grad()
    for positions in learner._positions(0):
        loss = learner.loss(positions) / learner.config.accumulation_steps
        loss.backward()  # type: ignore[no-untyped-call]
    return {name: value.grad.clone() for name, value in learner.network.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("accumulation_steps", [2, 4])
def test_accumulated_gradients_are_those_of_the_big_batch(accumulation_steps: int) -> None:
    whole = _gradients(learner_of(perturb=True))
    parts = _gradients(learner_of(changed(accumulation_steps=accumulation_steps), perturb=True))
    assert whole.keys() == parts.keys() == dict(learner_of().network.named_parameters()).keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6)
    assert float(whole["conv_in.weight"].abs().max()) > 1e-3


def test_the_mean_of_two_workers_gradients_is_that_of_the_big_batch() -> None:
    """What DistributedDataParallel averages, without its processes."""
    whole = _gradients(learner_of(perturb=True))
    workers = []
    for rank in (0, 1):
        learner = learner_of(changed(accumulation_steps=2), perturb=True)
        learner.rank, learner.world_size = rank, 2
        workers.append(_gradients(learner))
    for name, gradient in whole.items():
        torch.testing.assert_close((workers[0][name] + workers[1][name]) / 2, gradient, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(workers[0]["conv_in.weight"], workers[1]["conv_in.weight"], rtol=0.1)


def test_accumulation_trains_to_the_same_weights() -> None:
    big, small = learner_of(), learner_of(changed(accumulation_steps=4))
    for step in range(5):
        assert small.train_step(step)["loss"] == pytest.approx(big.train_step(step)["loss"], rel=1e-4)


def test_the_trained_network_answers_to_the_side_it_is_asked_for() -> None:
    """At the noisiest level the image says nothing, so what the network draws there comes from the condition."""
    noisy = {"timestep_sampling": "log-normal", "log_normal_mean": 1.5}
    rates = {"learning_rate": 5e-3, "null_probability": 0.0, "unknown_probability": 0.0}
    config = changed(num_steps=100, batch_size=16, **noisy, **rates)
    learner = learner_of(config)
    losses = [learner.train_step(step)["loss"] for step in range(config.num_steps)]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    condition_BD = torch.zeros(32, 36)
    condition_BD[:, SIDE_FLAG], condition_BD[:16, SIDE], condition_BD[16:, SIDE] = 1.0, -1.0, 1.0
    t_B = torch.full((32,), 999)
    x_t_BCHW = normal(torch.arange(16).repeat(2), 0, (3, 8, 8))
    network: Any = learner.ema_network
    with torch.no_grad():
        output = network(x_t_BCHW, t_B, encoder_hidden_states=None, class_labels=condition_BD).sample
    x0_BCHW = learner.schedule.x0_from_output(x_t_BCHW, output, t_B)
    left_minus_right_B = x0_BCHW[..., :4].mean(dim=(1, 2, 3)) - x0_BCHW[..., 4:].mean(dim=(1, 2, 3))
    # In the training images it is 150 / 127.5 = 1.18, dark on the left in a right eye. Both halves have the same noise,
    # so a network that does not heed the condition has a difference of exactly 0.
    asked_left_B, asked_right_B = left_minus_right_B[16:], left_minus_right_B[:16]
    assert bool((asked_left_B > asked_right_B).all())
    assert float((asked_left_B - asked_right_B).mean()) > 0.5
    assert float(asked_right_B.mean()) < 0.0 < float(asked_left_B.mean())


# --- resume and divergence ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "bf16", "accumulation_steps": 2, "gradient_checkpointing": True},
        {"unet": {**TINY.unet.model_dump(), "dropout": 0.2, "attention_levels": (1,)}, "min_snr_gamma": 5.0},
    ],
    ids=["plain", "bf16-accumulation-checkpointing", "dropout-attention-min-snr"],
)
def test_a_resumed_run_equals_the_unbroken_one_bit_for_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = changed(**changes)
    unbroken = learner_of(config)
    numbers = [unbroken.train_step(step) for step in range(7)]
    first = learner_of(config)
    for step in range(3):
        first.train_step(step)
    save_file(first.state(), tmp_path / "state.safetensors")
    torch.manual_seed(99)  # somebody else draws in between
    second = learner_of(config)
    second.load_state(load_file(tmp_path / "state.safetensors"))
    assert [second.train_step(step) for step in range(3, 7)] == numbers[3:]
    ours, theirs = second.state(), unbroken.state()
    assert ours.keys() == theirs.keys()
    assert {name.split(".")[0] for name in ours} == {"network", "optimizer", "ema"}
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_sheet_in_the_middle_does_not_disturb_the_run() -> None:
    quiet, drawn = learner_of(), learner_of()
    numbers = [quiet.train_step(step) for step in range(4)]
    assert [drawn.train_step(step) for step in range(2)] == numbers[:2]
    drawn.sheet()
    assert [drawn.train_step(step) for step in range(2, 4)] == numbers[2:]
    assert all(torch.equal(value, drawn.state()[name]) for name, value in quiet.state().items())


def test_a_loss_over_ten_times_that_of_answering_zero_stops_the_run() -> None:
    """With eps as the target, answering b has the loss 1 + b^2 against 1 of answering 0."""
    config = changed(schedule={"prediction": "epsilon"}, batch_size=32)
    learner = learner_of(config)
    for bias, stops in ((2.9, False), (3.1, True)):
        assert (1 + bias**2 > MAX_LOSS_RATIO) == stops
        set_bias(learner, bias)
        loss = float(learner.loss(range(32)).detach())
        assert math.isinf(loss) if stops else loss == pytest.approx(1 + bias**2, rel=0.02)


@pytest.mark.parametrize("value", [50.0, math.nan], ids=["out-of-range", "nan"])
def test_divergence_stops_the_run_with_its_step_and_a_remedy(value: float) -> None:
    learner = learner_of()
    for step in range(3):
        learner.train_step(step)
    averaged = [weights.clone() for weights in learner.ema_network.parameters()]
    set_bias(learner, value)
    with pytest.raises(TrainingDivergedError, match=r"diverged at step 3: .* lower learning_rate") as raised:
        learner.train_step(3)
    assert "\n" not in str(raised.value)
    # The weights that would be saved are still those of the last good step.
    assert all(map(torch.equal, averaged, learner.ema_network.parameters()))


def test_a_rate_far_too_high_diverges_by_itself() -> None:
    learner = learner_of(changed(learning_rate=100.0, warmup_steps=0))
    with pytest.raises(TrainingDivergedError, match=r"diverged at step [1-9]: .*\(now 100\)"):
        for step in range(10):
            learner.train_step(step)


# --- weights to start from ----------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    """`unet/` of diffusers, saved by diffusers, and its tensors."""
    network: Any = learner_of(changed(seed=5), perturb=True).network
    network.save_pretrained(tmp_path / "generator" / "unet")
    return tmp_path / "generator", network.state_dict()


@pytest.mark.parametrize("below", ["", "unet", "unet/diffusion_pytorch_model.safetensors"])
def test_training_starts_from_the_weights_of_a_directory_or_file(
    weights: tuple[Path, dict[str, Tensor]], below: str
) -> None:
    folder, tensors = weights
    learner = learner_of(changed(init_from=str(folder / below)))
    for network in (learner.network, learner.ema_network):
        assert all(torch.equal(value, tensors[name]) for name, value in network.state_dict().items())
    assert not torch.equal(tensors["conv_in.weight"], learner_of().network.get_parameter("conv_in.weight"))


def _drop(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if name != "conv_in.bias"}


def _reshape(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {"conv_in.bias": torch.zeros(9)}


def _add(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {"stranger": torch.zeros(1)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop, "has no tensor conv_in.bias; give weights of a U-Net with the same settings"),
        (_reshape, r"conv_in.bias has shape \(9,\), expected \(8,\); give"),
        (_add, "has a tensor stranger that the U-Net lacks; give"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(
    tmp_path: Path,
    weights: tuple[Path, dict[str, Tensor]],
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    message: str,
) -> None:
    file = tmp_path / "other.safetensors"
    save_file({name: value.contiguous() for name, value in change(dict(weights[1])).items()}, file)
    with pytest.raises(WrongInputError, match=message) as raised:
        learner_of(changed(init_from=str(file)))
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_weights_that_are_missing_or_no_safetensors_are_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no such format")
    torch.save({"conv_in.bias": torch.zeros(8)}, tmp_path / "pickled.safetensors")
    for path, message in (
        (tmp_path / "nowhere", "init_from: no weights at .*nowhere; looked for .*unet/diffusion_pytorch_model"),
        (tmp_path / "nothing.safetensors", "init_from: no weights at"),
        (broken, "init_from: cannot read .*broken.safetensors as safetensors"),
        (tmp_path / "pickled.safetensors", "init_from: cannot read .*pickled.safetensors as safetensors"),
    ):
        with pytest.raises(WrongInputError, match=message) as raised:
            learner_of(changed(init_from=str(path)))
        assert "\n" not in str(raised.value)


# --- the sheet, and what is refused -------------------------------------------------------------------------------


def test_the_sheet_shows_the_same_samples_as_right_and_as_left_eye() -> None:
    learner = learner_of(perturb=True)
    sheet = learner.sheet()
    assert sheet.shape == (2 * 8, 3 * 8, 3)
    assert sheet.dtype == np.uint8
    batch = Spots().batch("train", [0, 13, 26])
    flags_BK = batch.known_BK.copy()
    flags_BK[:, LABEL_NAMES.index("eye_side")] = True
    engine = Engine(learner.ema_network, TINY.schedule, (3, 8, 8))
    for row, side in enumerate((0.0, 1.0)):
        p_BV = batch.p_BV.copy()
        p_BV[:, SIDE] = side
        none = np.zeros_like(flags_BK)
        conditions = mask_conditions(p_BV, flags_BK, none, np.zeros(3, np.bool_))
        images = engine.run([RowRequest(conditions[i], i, TINY.sheet_solver) for i in range(3)], 3)
        expected = np.concatenate(list(images), axis=1)
        assert np.abs(sheet[8 * row : 8 * row + 8].astype(int) - expected.astype(int)).max() <= 1
    assert np.abs(sheet[:8].astype(int) - sheet[8:].astype(int)).max() > 10


def test_what_cannot_be_trained_is_refused_in_one_line() -> None:
    with pytest.raises(WrongInputError, match=r"batch_size 8 does not divide into 1 workers x 3 accumulation steps"):
        learner_of(changed(accumulation_steps=3))
    with pytest.raises(WrongInputError, match=r"batch_size 8 does not divide into 3 workers"):
        GeneratorLearner(Spots(), TINY, CPU, 0, 3)
    with pytest.raises(WrongInputError, match="no images in the train split"):
        learner_of(num_images=0)
    with pytest.raises(WrongInputError, match=r"the images are 8 px and unet.size_px is 16; make them equal"):
        learner_of(changed(unet={**TINY.unet.model_dump(), "size_px": 16}))
    with pytest.raises(
        ValidationError, match="num_steps 4 is more than the schedule's num_train_timesteps 3; lower it"
    ):
        changed(schedule={"num_train_timesteps": 3})
    with pytest.raises(ValidationError, match="unknown key 'ema_dacay'; did you mean 'ema_decay'"):
        changed(ema_dacay=0.9)


def test_the_guide_names_every_setting() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "generator.md").read_text()
    for config in (GeneratorConfig, UNetConfig, ScheduleConfig):
        for name in config.model_fields:
            assert f"`{name}`" in guide, f"docs/generator.md does not name {config.__name__}.{name}"
