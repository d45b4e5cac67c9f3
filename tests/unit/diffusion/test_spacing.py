"""A spacing decides how much fine structure is left: closed form for Gaussian images with the spectrum of photographs.

The denoiser is exact, E[x_0 | x_t], so each spatial frequency is a Gaussian of its own, and a solver maps its variance
linearly. Prepared fundus photographs of 128 px have a power of about 2.6e-3 (r / 32)^-2.85 at r cycles per image, where
white noise of variance 1 has 1. The recipe for 128 px has this schedule.
"""

import numpy as np
import pytest
from numpy.typing import NDArray

from synfundus.diffusion.config import ScheduleConfig, SolverConfig
from synfundus.diffusion.solvers import solver_table

SCHEDULE = ScheduleConfig(kind="shifted", log_snr_shift=-1.39)
FREQUENCY = np.arange(33, 65, dtype=np.float64)
"""Cycles per image of the top octave of 128 px."""
POWER = 2.6e-3 * (FREQUENCY / 32.0) ** -2.85


def sampled_power(solver: SolverConfig) -> NDArray[np.float64]:
    """Return the power of samples at each frequency, from the covariance of (x, x0_prev)."""
    table = solver_table(SCHEDULE, solver)
    covariance = np.zeros((len(POWER), 2, 2))
    covariance[:, 0, 0] = 1.0
    for i in range(table.num_steps):
        alpha, sigma = table.alpha[i], table.sigma[i]
        variance = alpha**2 * POWER + sigma**2
        x0, eps = alpha * POWER / variance, sigma / variance
        step = np.zeros_like(covariance)
        step[:, 0, 0] = table.cx[i] + table.c0[i] * x0 + table.ce[i] * eps
        step[:, 0, 1] = table.c0p[i]
        step[:, 1, 0] = x0
        covariance = step @ covariance @ step.transpose(0, 2, 1)
        covariance[:, 0, 0] += table.cn[i] ** 2
    return covariance[:, 0, 0]


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ({"name": "dpmpp-2m", "num_steps": 25, "spacing": "trailing"}, 0.05),
        ({"name": "dpmpp-2m", "num_steps": 20, "spacing": "trailing"}, 0.035),
        ({"name": "dpmpp-2m", "num_steps": 20, "spacing": "log-snr"}, 0.80),
        ({"name": "dpmpp-2m", "num_steps": 20, "spacing": "karras"}, 0.41),
        ({"name": "ddpm", "num_steps": 1000}, 0.73),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_share_of_the_top_octaves_power_that_is_left(settings: dict[str, object], share: float) -> None:
    power = sampled_power(SolverConfig.model_validate({**settings, "clip": False}))
    left = (FREQUENCY * power).sum() / (FREQUENCY * POWER).sum()
    assert left == pytest.approx(share, abs=0.01)
