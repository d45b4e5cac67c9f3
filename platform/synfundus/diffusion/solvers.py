"""Solvers of the reverse process, as tables of coefficients.

Every solver here is a linear form of the quantities that are known at a step,

    x' = cx x + c0 x0 + c0p x0_prev + ce eps + cn noise

with x0 the predicted clean image (clipped to [-1, 1] if `clip` is set), x0_prev that of the previous step, and eps the
predicted noise, not computed again from the clipped x0. So rows of different solvers, step counts and progress share
one vectorised update. Coefficients are float64 and depend only on the step; docs/sampling.md has symbols and equations.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synfundus.diffusion.config import ScheduleConfig, SolverConfig
from synfundus.diffusion.schedule import Schedule
from synfundus.errors import WrongInputError

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class SolverTable:
    """Coefficients of a solver that do not depend on the images; arrays have one entry per step."""

    t: Float64Array
    """Timestep at which the network is evaluated, from T-1 downwards; whole numbers if the spacing is `trailing`."""
    alpha: Float64Array
    """Signal level at the start of the step."""
    sigma: Float64Array
    """Noise level at the start of the step."""
    cx: Float64Array
    """Coefficient of x."""
    c0: Float64Array
    """Coefficient of x0."""
    c0p: Float64Array
    """Coefficient of x0_prev."""
    ce: Float64Array
    """Coefficient of eps."""
    cn: Float64Array
    """Coefficient of the noise."""
    guided: NDArray[np.bool_]
    """True if the step also needs the output for the null condition."""

    @property
    def num_steps(self) -> int:
        """Number of denoising steps."""
        return len(self.t)


@dataclass(frozen=True)
class _Levels:
    """Signal and noise at the start (`alpha`, `sigma`) and the end (`alpha_next`, `sigma_next`) of each step."""

    alpha: Float64Array
    sigma: Float64Array
    alpha_next: Float64Array
    sigma_next: Float64Array

    @property
    def log_ratio(self) -> Float64Array:
        """Half the log-SNR, lambda = ln(alpha / sigma), at the start of each step."""
        return np.log(self.alpha / self.sigma)

    @property
    def posterior_std(self) -> Float64Array:
        """Standard deviation of q(x' | x, x0) (Ho et al. 2020, eq. 7, as a jump over several timesteps)."""
        ratio = self.alpha / self.alpha_next
        return self.sigma_next / self.sigma * np.sqrt(1.0 - ratio**2)


_Coefficients = tuple[Float64Array, Float64Array, Float64Array, Float64Array, Float64Array]


def _ddpm(levels: _Levels) -> _Coefficients:
    """Return eq. 7 of Ho et al. 2020: mean and variance of q(x' | x, x0)."""
    ratio = levels.alpha / levels.alpha_next
    zeros = np.zeros_like(ratio)
    cx = ratio * levels.sigma_next**2 / levels.sigma**2
    c0 = levels.alpha_next * (1.0 - ratio**2) / levels.sigma**2
    return cx, c0, zeros, zeros, levels.posterior_std


def _ddim(levels: _Levels, eta: float) -> _Coefficients:
    """Return eq. 12 and 16 of Song et al. 2021 (arXiv 2010.02502)."""
    std = eta * levels.posterior_std
    zeros = np.zeros_like(std)
    return zeros, levels.alpha_next, zeros, np.sqrt(levels.sigma_next**2 - std**2), std


def _dpmpp_2m(levels: _Levels) -> _Coefficients:
    """Return algorithm 2 of Lu et al. 2022 (arXiv 2211.01095), midpoint.

    The first step has no history, and the last ends at sigma 0, where h is infinite. Both are first-order steps.
    """
    cx = levels.sigma_next / levels.sigma
    # alpha' (1 - e^-h) with e^-h = (sigma' / alpha') / (sigma / alpha), which avoids the infinite h of the last step.
    gain = levels.alpha_next - levels.sigma_next * levels.alpha / levels.sigma
    weight = np.zeros_like(cx)
    h = np.diff(levels.log_ratio)
    weight[1:-1] = h[1:] / (2.0 * h[:-1])
    zeros = np.zeros_like(cx)
    return cx, gain * (1.0 + weight), -gain * weight, zeros, zeros


def _coefficients(solver: SolverConfig, levels: _Levels) -> _Coefficients:
    """Return cx, c0, c0p, ce and cn of a solver."""
    match solver.name:
        case "ddpm":
            return _ddpm(levels)
        case "ddim":
            return _ddim(levels, solver.eta)
        case "dpmpp-2m":
            return _dpmpp_2m(levels)


def timesteps(num_train_timesteps: int, num_steps: int) -> NDArray[np.int64]:
    """Return timesteps even in t, from T-1 downwards: round(T - i T / S) - 1, which diffusers calls `trailing`."""
    # diffusers rounds the values of arange. The slice drops the extra -1 that arange returns if T / S rounds down, as
    # for S = 61.
    spaced = np.arange(num_train_timesteps, 0, -num_train_timesteps / num_steps)[:num_steps]
    return spaced.round().astype(np.int64) - 1


_KARRAS_RHO = 7.0


def _noise_levels(spacing: Literal["log-snr", "karras"], highest: float, lowest: float, num_steps: int) -> Float64Array:
    """Return `num_steps` noise levels sigma / alpha from `highest` to `lowest`; a single step starts at `highest`."""
    ramp = np.linspace(0.0, 1.0, num_steps)
    if spacing == "log-snr":  # Lu et al. 2022 (arXiv 2206.00927): the log-SNR is -2 ln(sigma / alpha)
        return np.exp((1.0 - ramp) * math.log(highest) + ramp * math.log(lowest))
    start, end = highest ** (1.0 / _KARRAS_RHO), lowest ** (1.0 / _KARRAS_RHO)
    level: Float64Array = (start + ramp * (end - start)) ** _KARRAS_RHO
    return level  # Karras et al. 2022 (arXiv 2206.00364), eq. 5


def _starts(schedule: ScheduleConfig, solver: SolverConfig) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return timestep, alpha and sigma at the start of each step.

    Every spacing starts at T-1, because sampling starts from pure noise, and the network is trained on pure noise only
    at T-1 (Lin et al. 2024, arXiv 2305.08891, section 3.3 and table 2). A level between two levels of the schedule gets
    a fractional timestep, linear in ln(sigma / alpha).
    """
    tables = Schedule(schedule)
    if solver.spacing == "trailing":
        whole = timesteps(schedule.num_train_timesteps, solver.num_steps)
        return whole.astype(np.float64), tables.alpha_t.numpy()[whole], tables.sigma_t.numpy()[whole]
    log_level_T = -0.5 * tables.log_snr.numpy()
    highest, lowest = math.exp(log_level_T[-1]), math.exp(log_level_T[0])
    level = _noise_levels(solver.spacing, highest, lowest, solver.num_steps)
    t = np.interp(np.log(level), log_level_T, np.arange(schedule.num_train_timesteps))
    alpha = 1.0 / np.sqrt(1.0 + level**2)
    return t, alpha, level * alpha


@lru_cache(maxsize=512)
def solver_table(schedule: ScheduleConfig, solver: SolverConfig) -> SolverTable:
    """Return the coefficients of a solver on a schedule. They are computed once per pair.

    Raises:
        WrongInputError: the solver has more steps than the schedule has timesteps.
    """
    if solver.num_steps > schedule.num_train_timesteps:
        raise WrongInputError(
            f"solver: num_steps is {solver.num_steps}, but the generator has {schedule.num_train_timesteps} timesteps;"
            f" set it to at most {schedule.num_train_timesteps}"
        )
    t, alpha, sigma = _starts(schedule, solver)
    levels = _Levels(alpha, sigma, np.append(alpha[1:], 1.0), np.append(sigma[1:], 0.0))
    cx, c0, c0p, ce, cn = _coefficients(solver, levels)
    return SolverTable(t, alpha, sigma, cx, c0, c0p, ce, cn, _guided(solver, sigma / alpha))


def _guided(solver: SolverConfig, noise_level: Float64Array) -> NDArray[np.bool_]:
    """Return which steps are guided, by their noise level sigma / alpha."""
    if solver.guidance_scale == 1.0:
        return np.zeros(len(noise_level), np.bool_)
    low, high = solver.guidance_interval or (-np.inf, np.inf)
    return (low < noise_level) & (noise_level <= high)
