"""The generator's loss: weights against closed forms, value against diffusers, gradients of parts of a batch."""

from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from support.clean_image import clean_image
from support.spots import changed, learner_of
from synfundus.diffusion.config import ScheduleConfig
from synfundus.diffusion.noise import normal
from synfundus.diffusion.schedule import Schedule
from synfundus.diffusion.training import (
    GeneratorLearner,
    loss_weight,
)
from synfundus.seeds import derive_seed

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BETA_SCHEDULES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_min_snr_weights_equal_those_of_hang_et_al(kind: str) -> None:
    """The weight is min(SNR, gamma) / SNR for eps and min(SNR, gamma) / (SNR + 1) for v."""
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
    error_of_x0 = (clean_image(schedule, x_t, output, t_B) - x0).square().mean(dim=(1, 2, 3))
    expected = schedule.snr(t_B).clamp(max=5.0) * error_of_x0
    torch.testing.assert_close(loss_weight(t_B, schedule, 5.0).double() * error, expected, rtol=1e-6, atol=0.0)


def _recorded_loss(learner: GeneratorLearner, positions: range) -> tuple[float, dict[str, Tensor]]:
    """Return the loss, and the inputs and output of the network."""
    recorded: dict[str, Tensor] = {}

    def note(module: Any, args: tuple[Tensor, Tensor], kwargs: dict[str, Any], output: tuple[Tensor]) -> None:
        recorded.update(x_t=args[0], t=args[1], condition=kwargs["class_labels"], output=output[0].detach().float())

    hook = learner.network.register_forward_hook(note, with_kwargs=True)
    loss = float(learner.loss(positions).detach())
    hook.remove()
    return loss, recorded


@pytest.mark.parametrize("sampling", ["uniform", "log-normal"])
@pytest.mark.parametrize("gamma", [None, 5.0])
@pytest.mark.parametrize(("prediction", "kind"), [("epsilon", "linear"), ("v", "cosine"), ("v", "linear")])
def test_the_loss_equals_one_computed_with_diffusers_scheduler(
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
    loss, recorded = _recorded_loss(learner, positions)
    x0_BCHW, condition_BD = learner._inputs(positions)
    assert torch.equal(recorded["condition"], condition_BD)
    scheduler = DDPMScheduler(beta_schedule=BETA_SCHEDULES[kind])
    seeds_B = torch.full((16,), derive_seed("draws", config.seed))
    eps_BCHW = normal(seeds_B, torch.arange(32, 48), (3, 8, 8))
    t_B = recorded["t"]
    assert len(set(t_B.tolist())) > 8
    # diffusers computes its tables in float32.
    torch.testing.assert_close(recorded["x_t"], scheduler.add_noise(x0_BCHW, eps_BCHW, t_B), rtol=0, atol=2e-4)
    target = eps_BCHW if prediction == "epsilon" else scheduler.get_velocity(x0_BCHW, eps_BCHW, t_B)
    error_B = (recorded["output"] - target).square().mean(dim=(1, 2, 3))
    if gamma is not None:
        snr_B = scheduler.alphas_cumprod[t_B] / (1.0 - scheduler.alphas_cumprod[t_B])
        error_B = error_B * snr_B.clamp(max=gamma) / (snr_B if prediction == "epsilon" else snr_B + 1.0)
    assert loss == pytest.approx(float(error_B.mean()), rel=5e-4)
    assert float(recorded["output"].std()) > 0.1


def test_bf16_changes_the_loss_by_less_than_a_hundredth_and_leaves_the_weights_fp32() -> None:
    exact, rough = learner_of(perturb=True), learner_of(changed(resources={"precision": "bf16"}), perturb=True)
    loss = exact.train_step(0).loss
    loss_bf16 = rough.train_step(0).loss
    assert loss_bf16 != loss
    assert loss_bf16 == pytest.approx(loss, rel=0.01)
    for learner in (exact, rough):
        weight = learner.network.get_parameter("conv_in.weight")
        assert weight.dtype == torch.float32
        assert weight.is_contiguous(memory_format=torch.channels_last)


def _gradients(learner: GeneratorLearner) -> dict[str, Tensor]:
    """Return the gradients that `train_step` computes, before clipping."""
    learner.network.train()
    learner.optimizer.zero_grad()
    for positions in learner._positions(0):
        loss = learner.loss(positions) / learner.config.accumulation_steps
        loss.backward()  # type: ignore[no-untyped-call]
    return {name: value.grad.clone() for name, value in learner.network.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("accumulation_steps", [2, 4])
def test_accumulated_gradients_are_those_of_the_big_batch(accumulation_steps: int) -> None:
    whole = _gradients(learner_of(perturb=True))
    accumulated = _gradients(learner_of(changed(accumulation_steps=accumulation_steps), perturb=True))
    assert whole.keys() == accumulated.keys() == dict(learner_of().network.named_parameters()).keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(accumulated[name], gradient, rtol=1e-4, atol=1e-6)
    assert float(whole["conv_in.weight"].abs().max()) > 1e-3


def test_the_mean_of_two_workers_gradients_is_that_of_the_big_batch() -> None:
    """This is what DistributedDataParallel computes, here without its processes."""
    whole = _gradients(learner_of(perturb=True))
    workers = []
    for rank in (0, 1):
        learner = learner_of(changed(accumulation_steps=2), perturb=True)
        learner.rank, learner.world_size = rank, 2
        workers.append(_gradients(learner))
    for name, gradient in whole.items():
        torch.testing.assert_close((workers[0][name] + workers[1][name]) / 2, gradient, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(workers[0]["conv_in.weight"], workers[1]["conv_in.weight"], rtol=0.1)


def test_accumulation_gives_the_same_losses() -> None:
    big, small = learner_of(), learner_of(changed(accumulation_steps=4))
    for step in range(5):
        assert small.train_step(step).loss == pytest.approx(big.train_step(step).loss, rel=1e-4)
