"""Solvers of the reverse process, as tables of coefficients.

Every solver here is one linear form of what is known at a step,

    x' = cx x + c0 x0 + c0p x0_prev + ce eps + cn noise

with x0 the predicted clean image (clipped to [-1, 1] if asked for), x0_prev that of the step before, and eps the
predicted noise, not re-derived from the clipped x0. So rows of different solvers, step counts and progress share one
vectorised update. Coefficients are float64 and depend on the step alone; docs/sampling.md has symbols and equations.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from synfundus.diffusion.config import ScheduleConfig, SolverConfig
from synfundus.diffusion.schedule import Schedule
from synfundus.errors import WrongInputError

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class SolverTable:
    """Everything about the steps of a solver that does not depend on the images; arrays have one entry a step."""

    t: NDArray[np.int64]
    """Timestep at which the network is asked, from T-1 downwards."""
    alpha: Float64Array
    sigma: Float64Array
    cx: Float64Array
    c0: Float64Array
    c0p: Float64Array
    ce: Float64Array
    cn: Float64Array
    guided: NDArray[np.bool_]
    """Whether the step needs the null condition's output too."""

    @property
    def num_steps(self) -> int:
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
        """lambda = ln(alpha / sigma) at the start of each step."""
        return np.log(self.alpha / self.sigma)

    @property
    def posterior_std(self) -> Float64Array:
        """Standard deviation of q(x' | x, x0) (Ho et al. 2020, eq. 7, as a jump over several timesteps)."""
        ratio = self.alpha / self.alpha_next
        return self.sigma_next / self.sigma * np.sqrt(1.0 - ratio**2)


_Coefficients = tuple[Float64Array, Float64Array, Float64Array, Float64Array, Float64Array]


def _ddpm(levels: _Levels) -> _Coefficients:
    """Ho et al. 2020, eq. 7: mean and variance of q(x' | x, x0)."""
    ratio = levels.alpha / levels.alpha_next
    zeros = np.zeros_like(ratio)
    cx = ratio * levels.sigma_next**2 / levels.sigma**2
    c0 = levels.alpha_next * (1.0 - ratio**2) / levels.sigma**2
    return cx, c0, zeros, zeros, levels.posterior_std


def _ddim(levels: _Levels, eta: float) -> _Coefficients:
    """Song et al. 2021 (arXiv 2010.02502), eq. 12 and 16."""
    std = eta * levels.posterior_std
    zeros = np.zeros_like(std)
    return zeros, levels.alpha_next, zeros, np.sqrt(levels.sigma_next**2 - std**2), std


def _dpmpp_2m(levels: _Levels) -> _Coefficients:
    """Lu et al. 2022 (arXiv 2211.01095), algorithm 2, midpoint.

    The first step has no history, and the last ends at sigma 0, where h is infinite: both are of first order.
    """
    cx = levels.sigma_next / levels.sigma
    # alpha' (1 - e^-h) with e^-h = (sigma' / alpha') / (sigma / alpha), free of the infinite h of the last step.
    gain = levels.alpha_next - levels.sigma_next * levels.alpha / levels.sigma
    weight = np.zeros_like(cx)
    h = np.diff(levels.log_ratio)
    weight[1:-1] = h[1:] / (2.0 * h[:-1])
    zeros = np.zeros_like(cx)
    return cx, gain * (1.0 + weight), -gain * weight, zeros, zeros


def _coefficients(solver: SolverConfig, levels: _Levels) -> _Coefficients:
    match solver.name:
        case "ddpm":
            return _ddpm(levels)
        case "ddim":
            return _ddim(levels, solver.eta)
        case "dpmpp-2m":
            return _dpmpp_2m(levels)


def timesteps(num_train_timesteps: int, num_steps: int) -> NDArray[np.int64]:
    """Timesteps of a run, from T-1 downwards: round(T - i T / S) - 1, `trailing` in diffusers' words.

    Trailing, for all solvers, because a run starts from pure noise, which is what the network saw at T-1 and nowhere
    else (Lin et al. 2024, arXiv 2305.08891, section 3.3 and table 2).
    """
    # arange, because diffusers rounds its values; the cut drops the -1 that it adds where T / S rounds down (S = 61).
    spaced = np.arange(num_train_timesteps, 0, -num_train_timesteps / num_steps)[:num_steps]
    return spaced.round().astype(np.int64) - 1


@lru_cache(maxsize=512)
def solver_table(schedule: ScheduleConfig, solver: SolverConfig) -> SolverTable:
    """The coefficients of a solver on a schedule, made once per pair.

    Raises:
        WrongInputError: more steps than the schedule has timesteps.
    """
    if solver.num_steps > schedule.num_train_timesteps:
        raise WrongInputError(
            f"solver: num_steps is {solver.num_steps}, but the generator has {schedule.num_train_timesteps} timesteps; "
            f"ask for at most {schedule.num_train_timesteps}"
        )
    t = timesteps(schedule.num_train_timesteps, solver.num_steps)
    tables = Schedule(schedule)
    alpha, sigma = tables.alpha_t.numpy()[t], tables.sigma_t.numpy()[t]
    levels = _Levels(alpha, sigma, np.append(alpha[1:], 1.0), np.append(sigma[1:], 0.0))
    cx, c0, c0p, ce, cn = _coefficients(solver, levels)
    return SolverTable(t, alpha, sigma, cx, c0, c0p, ce, cn, _guided(solver, sigma / alpha))


def _guided(solver: SolverConfig, noise_level: Float64Array) -> NDArray[np.bool_]:
    if solver.guidance_scale == 1.0:
        return np.zeros(len(noise_level), np.bool_)
    low, high = solver.guidance_interval or (-np.inf, np.inf)
    return (low < noise_level) & (noise_level <= high)
