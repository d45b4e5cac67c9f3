"""Solver tables equal diffusers' schedulers and a float64 closed form, and converge at the order of the papers."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.special import expit

from synfundus.diffusion.config import ScheduleConfig, SolverConfig
from synfundus.diffusion.schedule import Schedule
from synfundus.diffusion.solvers import solver_table, timesteps
from synfundus.errors import WrongInputError

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Array = NDArray[np.float64]
Model = Callable[[Array, float], Array]

SCHEDULES = [
    ScheduleConfig(kind=kind, prediction=prediction, log_snr_shift=shift)
    for kind, shift in (("linear", 0.0), ("cosine", 0.0), ("shifted", -1.386))
    for prediction in ("epsilon", "v")
]
SOLVERS = [
    SolverConfig(name="ddpm", num_steps=20),
    SolverConfig(name="ddpm", num_steps=30),
    SolverConfig(name="ddpm", num_steps=1000),
    SolverConfig(name="ddim", num_steps=1),
    SolverConfig(name="ddim", num_steps=20),
    SolverConfig(name="ddim", num_steps=50),
    SolverConfig(name="ddim", num_steps=50, eta=1.0),
    SolverConfig(name="ddim", num_steps=8, eta=0.4),
    SolverConfig(name="dpmpp-2m", num_steps=1),
    SolverConfig(name="dpmpp-2m", num_steps=2),
    SolverConfig(name="dpmpp-2m", num_steps=10),
    SolverConfig(name="dpmpp-2m", num_steps=15),
    SolverConfig(name="dpmpp-2m", num_steps=30),
    *(
        SolverConfig.model_validate({"name": name, "num_steps": num_steps, "spacing": spacing, "clip": clip})
        for spacing in ("log-snr", "karras")
        for name, num_steps, clip in (
            ("dpmpp-2m", 1, True),
            ("dpmpp-2m", 10, True),
            ("dpmpp-2m", 25, False),
            ("ddim", 20, False),
            ("ddpm", 20, True),
        )
    ),
]


def label(config: ScheduleConfig | SolverConfig) -> str:
    if isinstance(config, ScheduleConfig):
        return f"{config.kind}-{config.prediction}"
    eta = f"-eta{config.eta}" if config.eta else ""
    return f"{config.name}-{config.num_steps}{eta}" + ("" if config.spacing == "trailing" else f"-{config.spacing}")


def solve(schedule: ScheduleConfig, solver: SolverConfig, model: Model, x: Array, noise: Array) -> list[Array]:
    """Apply the linear form of `solvers` in float64; return x after each step. `noise` has one entry per step."""
    table = solver_table(schedule, solver)
    x0_prev, states = np.zeros_like(x), []
    for i in range(table.num_steps):
        alpha, sigma, output = table.alpha[i], table.sigma[i], model(x, table.t[i])
        if schedule.prediction == "epsilon":
            x0, eps = (x - sigma * output) / alpha, output
        else:
            x0, eps = alpha * x - sigma * output, alpha * output + sigma * x
        x0 = x0.clip(-1.0, 1.0) if solver.clip else x0
        x = table.cx[i] * x + table.c0[i] * x0 + table.c0p[i] * x0_prev + table.ce[i] * eps + table.cn[i] * noise[i]
        x0_prev = x0
        states.append(x)
    return states


def diffusers_scheduler(schedule: ScheduleConfig, solver: SolverConfig) -> Any:
    """Return the diffusers scheduler that equals a solver according to docs/sampling.md, with float64 tables."""
    saved = Schedule(schedule).scheduler_config()
    scheduler: Any
    if solver.name == "ddpm":
        scheduler = DDPMScheduler.from_config(saved, variance_type="fixed_small")
    elif solver.name == "ddim":
        scheduler = DDIMScheduler.from_config(saved)
    else:
        # thresholding with sample_max_value 1 is diffusers' way to clip x0 to [-1, 1] in this scheduler.
        scheduler = DPMSolverMultistepScheduler.from_config(saved, thresholding=solver.clip, sample_max_value=1.0)
    scheduler.alphas_cumprod = Schedule(schedule).alphas_cumprod
    scheduler.set_timesteps(solver.num_steps)
    if solver.name == "dpmpp-2m":
        assert scheduler.config.algorithm_type == "dpmsolver++"
        assert scheduler.config.solver_order == 2
        assert scheduler.config.solver_type == "midpoint"
        assert scheduler.config.final_sigmas_type == "zero"
        t = scheduler.timesteps
        scheduler.sigmas = torch.cat(
            ((1.0 / Schedule(schedule).alphas_cumprod[t] - 1.0).sqrt(), torch.zeros(1, dtype=torch.float64))
        )
    return scheduler


SPACINGS = {"log-snr": "use_lu_lambdas", "karras": "use_karras_sigmas"}
"""Setting of diffusers' multistep solver that equals a spacing."""
ALGORITHMS = {"dpmpp-2m": "dpmsolver++", "ddim": "dpmsolver++", "ddpm": "sde-dpmsolver++"}


def spaced_scheduler(schedule: ScheduleConfig, solver: SolverConfig) -> Any:
    """Return diffusers' scheduler with the spacing of a solver; `ddim` and `ddpm` are its two first-order variants."""
    scheduler: Any = DPMSolverMultistepScheduler.from_config(
        Schedule(schedule).scheduler_config(),
        solver_order=2 if solver.name == "dpmpp-2m" else 1,
        algorithm_type=ALGORITHMS[solver.name],
        thresholding=solver.clip,
        sample_max_value=1.0,
        **{SPACINGS[solver.spacing]: True},
    )
    scheduler.alphas_cumprod = Schedule(schedule).alphas_cumprod
    scheduler.set_timesteps(solver.num_steps)
    scheduler.set_begin_index(0)  # its timesteps, which are whole numbers, may repeat
    return scheduler


def diffusers_solve_spaced(
    schedule: ScheduleConfig, solver: SolverConfig, model: Model, x: Array, noise: Array
) -> list[Array]:
    """Solve with diffusers' levels; the network gets our timesteps, which diffusers rounds."""
    scheduler, t = spaced_scheduler(schedule, solver), solver_table(schedule, solver).t
    states, sample = [], torch.from_numpy(x)
    for i in range(solver.num_steps):
        output = torch.from_numpy(model(sample.numpy(), t[i]))
        drawn = torch.from_numpy(noise[i]) if solver.name == "ddpm" else None
        sample = scheduler.step(output, scheduler.timesteps[i], sample, variance_noise=drawn).prev_sample
        states.append(sample.double().numpy())
    return states


def diffusers_solve(
    schedule: ScheduleConfig,
    solver: SolverConfig,
    model: Model,
    x: Array,
    noise: Array,
    monkeypatch: pytest.MonkeyPatch,
) -> list[Array]:
    scheduler = diffusers_scheduler(schedule, solver)
    states, sample = [], torch.from_numpy(x)
    for i, t in enumerate(scheduler.timesteps):
        output = torch.from_numpy(model(sample.numpy(), int(t)))
        if solver.name == "ddpm":
            drawn = torch.from_numpy(noise[i])
            monkeypatch.setattr(
                "diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, drawn=drawn, **__: drawn
            )
            sample = scheduler.step(output, t, sample).prev_sample
        elif solver.name == "ddim":
            sample = scheduler.step(
                output,
                int(t),
                sample,
                eta=solver.eta,
                variance_noise=torch.from_numpy(noise[i]) if solver.eta else None,
            ).prev_sample
        else:
            sample = scheduler.step(output, t, sample).prev_sample
        states.append(sample.double().numpy())
    return states


def fake_model(x: Array, t: float) -> Array:
    """Return a smooth nonlinear function of x and t with outputs of order one, in place of the network."""
    return np.asarray(0.9 * np.tanh(x) * math.cos(t / 300.0) + 0.1 * np.sin(3.0 * x))


def draws(num_steps: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((4, 3, 5, 5)), rng.standard_normal((num_steps, 4, 3, 5, 5))


@pytest.mark.parametrize("solver", SOLVERS, ids=label)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=label)
def test_every_step_equals_diffusers(
    schedule: ScheduleConfig, solver: SolverConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """diffusers' schedulers run on our float64 levels here, so that the comparison covers the solvers only."""
    both = solver.name == "dpmpp-2m" and solver.spacing == "trailing"
    for clip in (True, False) if both else (solver.clip,):
        config = solver.model_copy(update={"clip": clip})
        x, noise = draws(config.num_steps)
        ours = solve(schedule, config, fake_model, x, noise)
        if config.spacing == "trailing":
            theirs = diffusers_solve(schedule, config, fake_model, x, noise, monkeypatch)
        else:
            theirs = diffusers_solve_spaced(schedule, config, fake_model, x, noise)
        assert len(ours) == len(theirs) == config.num_steps
        # DPM-Solver++ casts the sample to float32 in each of its steps; the other two compute in float64 throughout.
        bound = 1e-9 if solver.name != "dpmpp-2m" and solver.spacing == "trailing" else 2e-5
        for step, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            scale = max(1.0, float(np.abs(b).max()))
            np.testing.assert_allclose(a, b, rtol=0, atol=bound * scale, err_msg=f"step {step}")


@pytest.mark.parametrize("num_timesteps", [1000, 250])
def test_timesteps_equal_the_trailing_ones_of_diffusers(num_timesteps: int) -> None:
    scheduler = DDPMScheduler(num_train_timesteps=num_timesteps, timestep_spacing="trailing")
    num_equal = 0
    for num_steps in range(1, num_timesteps + 1):
        ours = timesteps(num_timesteps, num_steps)
        assert len(ours) == num_steps
        assert ours[0] == num_timesteps - 1
        assert ours[-1] >= 0
        assert num_steps == 1 or np.diff(ours).max() < 0
        scheduler.set_timesteps(num_steps)
        theirs = scheduler.timesteps.numpy()
        num_equal += len(theirs) == num_steps
        assert np.array_equal(ours, theirs[:num_steps])
        assert (theirs[num_steps:] == -1).all()
    # For the other numbers of steps rounding gives diffusers an extra step at -1, which ours does not take.
    assert num_equal > 0.9 * num_timesteps


@pytest.mark.parametrize("num_steps", [1, 2, 10, 25, 100])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("schedule", SCHEDULES[::2], ids=label)
def test_noise_levels_and_timesteps_of_a_spacing_equal_those_of_diffusers(
    schedule: ScheduleConfig, spacing: str, num_steps: int
) -> None:
    solver = SolverConfig.model_validate({"name": "dpmpp-2m", "num_steps": num_steps, "spacing": spacing})
    table, scheduler = solver_table(schedule, solver), spaced_scheduler(schedule, solver)
    level = table.sigma / table.alpha
    np.testing.assert_allclose(level, scheduler.sigmas.double().numpy()[:-1], rtol=1e-6)
    np.testing.assert_allclose(table.alpha**2 + table.sigma**2, 1.0, rtol=1e-12)
    # diffusers interpolates as we do, and then makes whole numbers of the timesteps.
    log_level_T = -0.5 * Schedule(schedule).log_snr.numpy()
    fractional = [float(scheduler._sigma_to_t(sigma, log_level_T)) for sigma in level]
    np.testing.assert_allclose(table.t, fractional, rtol=0, atol=1e-6)
    assert np.abs(table.t - scheduler.timesteps.numpy()).max() <= 1.0
    assert table.t[0] == pytest.approx(999.0, abs=1e-6)
    if num_steps > 1:
        assert table.t[-1] == pytest.approx(0.0, abs=1e-6)
        steps = np.diff(np.log(level) if spacing == "log-snr" else level ** (1 / 7))
        np.testing.assert_allclose(steps, steps[0], rtol=1e-9)


def test_a_step_count_that_does_not_divide_still_ends_without_noise() -> None:
    """DDIMScheduler then steps by T // S and ends above level 0; our steps end at the next timestep."""
    table = solver_table(ScheduleConfig(), SolverConfig(name="ddim", num_steps=7))
    tables = Schedule(ScheduleConfig())
    np.testing.assert_array_equal(table.c0[:-1], tables.alpha_t.numpy()[table.t[1:].astype(int)])
    np.testing.assert_array_equal(table.ce[:-1], tables.sigma_t.numpy()[table.t[1:].astype(int)])
    assert (table.c0[-1], table.ce[-1]) == (1.0, 0.0)


def gaussian_model(schedule: ScheduleConfig, std: float) -> Model:
    """The exact network for data N(0, std^2): E[eps | x_t] = sigma x / (alpha^2 std^2 + sigma^2), or v from it."""
    log_snr_T = Schedule(schedule).log_snr.numpy()

    def model(x: Array, t: float) -> Array:
        alpha = math.sqrt(expit(np.interp(t, np.arange(len(log_snr_T)), log_snr_T)))
        sigma = math.sqrt(1.0 - alpha**2)
        variance = alpha**2 * std**2 + sigma**2
        x0, eps = alpha * std**2 / variance * x, sigma / variance * x
        return np.asarray(eps if schedule.prediction == "epsilon" else alpha * eps - sigma * x0)

    return model


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("num_steps", [1, 7, 25])
def test_ddim_on_gaussian_data_has_its_closed_form(num_steps: int, prediction: str) -> None:
    """Each step multiplies x by (alpha' alpha s^2 + sigma' sigma) / (alpha^2 s^2 + sigma^2)."""
    schedule = ScheduleConfig.model_validate({"prediction": prediction})
    config = SolverConfig(name="ddim", num_steps=num_steps, clip=False)
    t = np.append(timesteps(1000, num_steps), -1)
    level = np.append(Schedule(schedule).alphas_cumprod.numpy(), 1.0)
    alpha, sigma, std = np.sqrt(level[t]), np.sqrt(1.0 - level[t]), 0.4
    factor = (alpha[1:] * alpha[:-1] * std**2 + sigma[1:] * sigma[:-1]) / (alpha[:-1] ** 2 * std**2 + sigma[:-1] ** 2)
    x = np.linspace(-3.0, 3.0, 11)
    states = solve(schedule, config, gaussian_model(schedule, std), x, np.zeros((num_steps, 11)))
    for state, product in zip(states, np.cumprod(factor), strict=True):
        # With epsilon, x0 is a difference divided by alpha = 5e-5 at the first step.
        np.testing.assert_allclose(state, product * x, rtol=1e-11, atol=1e-10 if prediction == "epsilon" else 0.0)


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("dpmpp-2m", 2)])
@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_order_of_convergence_equals_that_of_the_papers(name: str, order: int, prediction: str) -> None:
    """The probability flow of Gaussian data keeps x / sqrt(alpha^2 s^2 + sigma^2) constant.

    The error is measured after half of the timesteps, because the step count divides T there and the step in lambda
    shrinks everywhere as the count grows.
    """
    schedule = ScheduleConfig.model_validate({"kind": "linear", "prediction": prediction})
    tables, std = Schedule(schedule), 0.4
    deviation = np.sqrt(tables.alphas_cumprod.numpy() * std**2 + tables.sigma_t.numpy() ** 2)
    exact = deviation[499] / deviation[999]
    errors = []
    counts = (50, 100, 200)
    for num_steps in counts:
        config = SolverConfig.model_validate({"name": name, "num_steps": num_steps, "clip": False})
        states = solve(schedule, config, gaussian_model(schedule, std), np.ones(1), np.zeros((num_steps, 1)))
        assert timesteps(1000, num_steps)[num_steps // 2] == 499
        errors.append(abs(float(states[num_steps // 2 - 1][0]) / exact - 1.0))
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15), errors
    assert errors[0] < {1: 0.05, 2: 0.005}[order]


@pytest.mark.parametrize("solver", [SolverConfig(name="ddpm"), SolverConfig(name="ddim", eta=1.0)], ids=label)
@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_ancestral_sampling_of_gaussian_data_has_their_variance(solver: SolverConfig, kind: str) -> None:
    """The variance of x, followed exactly through the linear steps, approaches s^2 as the number of steps grows."""
    schedule = ScheduleConfig.model_validate({"kind": kind})
    model, std, errors = gaussian_model(schedule, 0.4), 0.4, []
    for num_steps in (50, 200, 1000):
        config = solver.model_copy(update={"num_steps": num_steps, "clip": False})
        table, variance = solver_table(schedule, config), 1.0
        for i in range(num_steps):
            alpha, sigma, v = table.alpha[i], table.sigma[i], float(model(np.ones(1), table.t[i])[0])
            gain = table.cx[i] + table.c0[i] * (alpha - sigma * v) + table.ce[i] * (alpha * v + sigma)
            variance = gain**2 * variance + table.cn[i] ** 2
        errors.append(abs(variance / std**2 - 1.0))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.03


def test_ancestral_ddim_is_ddpm() -> None:
    """Song et al. 2021: eta 1 is DDPM. With unclipped x0, eps is a combination of x and x0, so both forms agree."""
    schedule = ScheduleConfig()
    ddpm = solver_table(schedule, SolverConfig(name="ddpm", num_steps=40))
    ddim = solver_table(schedule, SolverConfig(name="ddim", num_steps=40, eta=1.0))
    np.testing.assert_allclose(ddim.ce / ddim.sigma, ddpm.cx, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(ddim.c0 - ddim.ce * ddim.alpha / ddim.sigma, ddpm.c0, rtol=1e-9)
    np.testing.assert_array_equal(ddim.cn, ddpm.cn)
    assert ddpm.cn[-1] == 0.0
    assert (ddpm.cn[:-1] > 0.0).all()


def test_dpmpp_2m_has_first_order_ends_and_the_papers_weights() -> None:
    """Lu et al. 2022, algorithm 2: D = (1 + 1 / 2r) x0 - (1 / 2r) x0_prev with r = h_prev / h."""
    table = solver_table(ScheduleConfig(), SolverConfig(name="dpmpp-2m", num_steps=12))
    log_ratio = np.log(table.alpha / table.sigma)
    h = np.diff(log_ratio)
    for i in range(1, 11):
        alpha, r = table.alpha[i + 1], h[i - 1] / h[i]
        gain = -alpha * math.expm1(-h[i])
        assert table.cx[i] == pytest.approx(table.sigma[i + 1] / table.sigma[i], rel=1e-12)
        assert table.c0[i] == pytest.approx(gain * (1.0 + 1.0 / (2.0 * r)), rel=1e-9)
        assert table.c0p[i] == pytest.approx(-gain / (2.0 * r), rel=1e-9)
    assert (table.c0p[0], table.c0p[-1]) == (0.0, 0.0)
    assert (table.cx[-1], table.c0[-1]) == (0.0, 1.0)


def test_the_guidance_interval_is_in_units_of_the_noise_level() -> None:
    schedule = ScheduleConfig()
    base = SolverConfig(num_steps=50, guidance_scale=3.0)
    table = solver_table(schedule, base)
    level = table.sigma / table.alpha
    assert table.guided.all()
    limited = base.model_copy(update={"guidance_interval": (float(level[30]), float(level[10]))})
    # Open below, closed above (Kynkäänniemi et al., eq. 4): steps 10 to 29 are guided, 30 is not.
    assert np.flatnonzero(solver_table(schedule, limited).guided).tolist() == list(range(10, 30))
    assert not solver_table(schedule, base.model_copy(update={"guidance_scale": 1.0})).guided.any()


def test_a_table_is_computed_once() -> None:
    a = solver_table(ScheduleConfig(), SolverConfig(num_steps=17))
    assert solver_table(ScheduleConfig(), SolverConfig(num_steps=17)) is a


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(WrongInputError, match="num_steps is 300, but the generator has 250 timesteps"):
        solver_table(ScheduleConfig(num_train_timesteps=250), SolverConfig(num_steps=300))
    with pytest.raises(ValidationError, match="eta: has no effect on solver 'ddpm'"):
        SolverConfig(name="ddpm", eta=0.5)
    with pytest.raises(ValidationError, match="0 <= low < high"):
        SolverConfig(guidance_interval=(2.0, 1.0))
    with pytest.raises(ValidationError, match="did you mean 'guidance_scale'"):
        SolverConfig.model_validate({"guidance_scal": 2.0})
