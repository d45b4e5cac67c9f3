"""The noise schedule: the share of image and noise in x_t.

    x_t = alpha_t x_0 + sigma_t eps,    alpha_t^2 = alphas_cumprod_t,    sigma_t^2 = 1 - alphas_cumprod_t

with t = 0 .. T-1 (Ho et al. 2020, arXiv 2006.11239, eq. 4). Tables are float64; results have the type of the images.
"""

import math

import torch
from pydantic import JsonValue
from torch import Tensor

from synfundus.diffusion.config import ScheduleConfig

_LINEAR_BETA_START, _LINEAR_BETA_END = 1e-4, 0.02
_COSINE_OFFSET = 0.008
_MAX_BETA = 0.999


def _cosine_alphas_cumprod(num_timesteps: int) -> Tensor:
    """Return eq. 17 of Nichol and Dhariwal 2021 (arXiv 2102.09672). Betas are at most 0.999, so the last SNR is > 0."""
    time = torch.arange(num_timesteps + 1, dtype=torch.float64) / num_timesteps
    level = torch.cos((time + _COSINE_OFFSET) / (1.0 + _COSINE_OFFSET) * math.pi / 2.0) ** 2
    betas = (1.0 - level[1:] / level[:-1]).clamp(max=_MAX_BETA)
    return torch.cumprod(1.0 - betas, dim=0)


def _alphas_cumprod(config: ScheduleConfig) -> Tensor:
    """Return alpha_t^2, float64 (T,), of a schedule."""
    if config.kind == "linear":
        # The end points are those for T = 1000 (Ho et al. 2020, section 4); as in diffusers, they do not depend on T.
        betas = torch.linspace(_LINEAR_BETA_START, _LINEAR_BETA_END, config.num_train_timesteps, dtype=torch.float64)
        return torch.cumprod(1.0 - betas, dim=0)
    alphas_cumprod = _cosine_alphas_cumprod(config.num_train_timesteps)
    if config.kind == "cosine":
        return alphas_cumprod
    # Hoogeboom et al. 2023 (arXiv 2301.11093), section 3.1: the shift is added to the log-SNR.
    return torch.sigmoid(torch.logit(alphas_cumprod) + config.log_snr_shift)


class Schedule:
    """Tables of a schedule, float64 (T,), and the arithmetic of training with them.

    Methods take images x0_BCHW and eps_BCHW of one floating type, and timesteps t_B, int64 in [0, T).
    """

    def __init__(self, config: ScheduleConfig, device: torch.device | str = "cpu") -> None:
        """Compute the tables and move them to `device`."""
        self.config = config
        # The tables are always computed on the CPU, so that they are bit-equal on every device.
        alphas_cumprod = _alphas_cumprod(config)
        self.alphas_cumprod = alphas_cumprod.to(device)
        self.alpha_t = alphas_cumprod.sqrt().to(device)
        self.sigma_t = (1.0 - alphas_cumprod).sqrt().to(device)
        self.log_snr = torch.logit(alphas_cumprod).to(device)
        """ln(alpha_t^2 / sigma_t^2); the lambda_t of DPM-Solver is half of it."""

    def _levels(self, t_B: Tensor, like_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha_t and sigma_t in the type and shape of `like_BCHW`."""
        shape = (-1, *[1] * (like_BCHW.ndim - 1))
        alpha, sigma = self.alpha_t[t_B].to(like_BCHW.dtype), self.sigma_t[t_B].to(like_BCHW.dtype)
        return alpha.view(shape), sigma.view(shape)

    def add_noise(self, x0_BCHW: Tensor, eps_BCHW: Tensor, t_B: Tensor) -> Tensor:
        """Return x_t = alpha_t x_0 + sigma_t eps."""
        alpha, sigma = self._levels(t_B, x0_BCHW)
        return alpha * x0_BCHW + sigma * eps_BCHW

    def velocity(self, x0_BCHW: Tensor, eps_BCHW: Tensor, t_B: Tensor) -> Tensor:
        """Return v_t = alpha_t eps - sigma_t x_0 (Salimans and Ho 2022, arXiv 2202.00512, section 4)."""
        alpha, sigma = self._levels(t_B, x0_BCHW)
        return alpha * eps_BCHW - sigma * x0_BCHW

    def target(self, x0_BCHW: Tensor, eps_BCHW: Tensor, t_B: Tensor) -> Tensor:
        """Return the network's target: eps or v, depending on the schedule's `prediction`."""
        return eps_BCHW if self.config.prediction == "epsilon" else self.velocity(x0_BCHW, eps_BCHW, t_B)

    def snr(self, t_B: Tensor) -> Tensor:
        """Return the signal-to-noise ratio alpha_t^2 / sigma_t^2, float64 (B,)."""
        return self.log_snr[t_B].exp()

    def scheduler_config(self) -> dict[str, JsonValue]:
        """Return settings that give `diffusers.DDIMScheduler` this schedule and the engine's timesteps."""
        betas: dict[str, JsonValue]
        if self.config.kind == "linear":
            betas = {
                "beta_schedule": "linear",
                "beta_start": _LINEAR_BETA_START,
                "beta_end": _LINEAR_BETA_END,
            }
        elif self.config.kind == "cosine":
            betas = {"beta_schedule": "squaredcos_cap_v2"}
        else:
            previous = torch.cat((torch.ones(1, dtype=torch.float64), self.alphas_cumprod[:-1].cpu()))
            betas = {"trained_betas": (1.0 - self.alphas_cumprod.cpu() / previous).tolist()}
        return {
            "_class_name": "DDIMScheduler",
            "num_train_timesteps": self.config.num_train_timesteps,
            "prediction_type": "epsilon" if self.config.prediction == "epsilon" else "v_prediction",
            "timestep_spacing": "trailing",
            "clip_sample": True,
            "clip_sample_range": 1.0,
            "set_alpha_to_one": True,
            "rescale_betas_zero_snr": False,
            **betas,
        }
