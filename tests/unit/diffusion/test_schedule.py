"""Schedules equal those of diffusers and the closed forms of the papers; noising, velocity and targets."""

import json
import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from pydantic import ValidationError

from support.clean_image import clean_image
from synfundus.diffusion.config import ScheduleConfig
from synfundus.diffusion.schedule import Schedule

DIFFUSERS_NAMES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
SHIFTED = ScheduleConfig(kind="shifted", log_snr_shift=2.0 * math.log(64 / 128))
CONFIGS = [ScheduleConfig(kind="linear"), ScheduleConfig(kind="cosine"), SHIFTED]


def betas(schedule: Schedule) -> np.ndarray:
    level = schedule.alphas_cumprod.numpy()
    return np.asarray(1.0 - level / np.concatenate([[1.0], level[:-1]]))


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("num_timesteps", [1000, 250])
def test_levels_equal_those_of_diffusers(kind: str, num_timesteps: int) -> None:
    ours = Schedule(ScheduleConfig.model_validate({"kind": kind, "num_train_timesteps": num_timesteps}))
    theirs = DDPMScheduler(num_train_timesteps=num_timesteps, beta_schedule=DIFFUSERS_NAMES[kind])
    np.testing.assert_allclose(betas(ours), theirs.betas.numpy(), rtol=1e-6, atol=1e-7)
    # diffusers multiplies T factors in float32, which limits the agreement.
    np.testing.assert_allclose(ours.alphas_cumprod.numpy(), theirs.alphas_cumprod.numpy(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_the_saved_scheduler_config_restores_the_levels(config: ScheduleConfig) -> None:
    saved = json.loads(json.dumps(Schedule(config).scheduler_config()))
    theirs = DDIMScheduler.from_config(saved)
    np.testing.assert_allclose(
        Schedule(config).alphas_cumprod.numpy(), theirs.alphas_cumprod.numpy(), rtol=2e-4, atol=1e-7
    )
    assert theirs.config.prediction_type == "v_prediction"
    assert theirs.config.timestep_spacing == "trailing"
    assert theirs.config.clip_sample
    epsilon = Schedule(config.model_copy(update={"prediction": "epsilon"})).scheduler_config()
    assert DDIMScheduler.from_config(epsilon).config.prediction_type == "epsilon"


def test_linear_end_points_and_the_cap_of_cosine_equal_the_papers() -> None:
    linear, cosine = Schedule(ScheduleConfig(kind="linear")), Schedule(ScheduleConfig(kind="cosine"))
    assert betas(linear)[0] == pytest.approx(1e-4, rel=1e-9)
    assert betas(linear)[-1] == pytest.approx(0.02, rel=1e-9)
    assert betas(cosine).max() == pytest.approx(0.999, rel=1e-9)
    # Nichol and Dhariwal, eq. 17: the level after step t of T is f((t + 1) / T) / f(0), as long as no beta is capped.
    f = np.cos((np.arange(991) / 1000 + 0.008) / 1.008 * math.pi / 2.0) ** 2
    np.testing.assert_allclose(cosine.alphas_cumprod[:990].numpy(), f[1:] / f[0], rtol=1e-10)


def test_shifted_adds_its_shift_to_the_log_snr_of_cosine() -> None:
    cosine = Schedule(ScheduleConfig(kind="cosine"))
    for size_px in (32, 128, 256):
        shift = 2.0 * math.log(64 / size_px)
        shifted = Schedule(ScheduleConfig(kind="shifted", log_snr_shift=shift))
        np.testing.assert_allclose((shifted.log_snr - cosine.log_snr).numpy(), shift, rtol=1e-9)
        # Hoogeboom et al.: noise of d x d px averaged over (d / 64)^2 px blocks has the SNR of the unshifted 64 px.
        np.testing.assert_allclose(
            (shifted.log_snr.exp() * (size_px / 64) ** 2).numpy(), cosine.log_snr.exp().numpy(), rtol=1e-9
        )
        assert (np.diff(shifted.log_snr.numpy()) < 0).all()
        assert 0.0 < betas(shifted).min() <= betas(shifted).max() < 1.0
    unshifted = Schedule(ScheduleConfig(kind="shifted"))
    torch.testing.assert_close(unshifted.log_snr, cosine.log_snr, rtol=1e-12, atol=0)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_tables_agree_with_each_other(config: ScheduleConfig) -> None:
    schedule = Schedule(config)
    for table in (schedule.alphas_cumprod, schedule.alpha_t, schedule.sigma_t, schedule.log_snr):
        assert table.dtype == torch.float64
        assert table.shape == (1000,)
        assert bool(table.isfinite().all())
    torch.testing.assert_close(schedule.alpha_t**2 + schedule.sigma_t**2, torch.ones(1000, dtype=torch.float64))
    torch.testing.assert_close(schedule.snr(torch.arange(1000)), (schedule.alpha_t / schedule.sigma_t) ** 2)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_noising_and_velocity_equal_those_of_diffusers(kind: str) -> None:
    schedule = Schedule(ScheduleConfig.model_validate({"kind": kind}))
    theirs = DDPMScheduler(beta_schedule=DIFFUSERS_NAMES[kind])
    generator = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(50, 3, 4, 4, generator=generator) for _ in range(2))
    t = torch.linspace(0, 999, 50).long()
    # sigma_0 of the cosine is 0.0064; float32 betas leave it a relative error of a thousandth.
    torch.testing.assert_close(schedule.add_noise(x0, eps, t), theirs.add_noise(x0, eps, t), rtol=0, atol=3e-5)
    torch.testing.assert_close(schedule.velocity(x0, eps, t), theirs.get_velocity(x0, eps, t), rtol=0, atol=3e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("kind", ["linear", "cosine", "shifted"])
def test_the_clean_image_is_recovered_from_the_target(kind: str, prediction: str) -> None:
    schedule = Schedule(ScheduleConfig.model_validate({"kind": kind, "prediction": prediction}))
    generator = torch.Generator().manual_seed(1)
    x0, eps = (torch.randn(1000, 1, 2, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    t = torch.arange(1000)
    x_t = schedule.add_noise(x0, eps, t)
    # With eps the error is eps_machine / alpha, at most 1e-16 / 5e-5 here.
    torch.testing.assert_close(clean_image(schedule, x_t, schedule.target(x0, eps, t), t), x0, rtol=0, atol=1e-10)


def test_results_have_the_type_of_the_images() -> None:
    schedule = Schedule(ScheduleConfig())
    for dtype in (torch.float32, torch.float64):
        x = torch.ones(2, 3, 4, 4, dtype=dtype)
        assert schedule.add_noise(x, x, torch.tensor([0, 999])).dtype == dtype


def test_a_shift_without_effect_is_refused() -> None:
    with pytest.raises(ValidationError, match="log_snr_shift: has no effect on kind 'cosine'"):
        ScheduleConfig(kind="cosine", log_snr_shift=-1.0)
    with pytest.raises(ValidationError, match="did you mean 'log_snr_shift'"):
        ScheduleConfig.model_validate({"log_snr_shfit": 1.0})
