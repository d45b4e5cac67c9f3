"""Requests, solvers and analytic networks for tests of the engine."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synfundus.diffusion.config import ScheduleConfig, SolverConfig
from synfundus.diffusion.engine import Engine, RowRequest
from synfundus.diffusion.noise import normal, sample_seed
from synfundus.diffusion.solvers import solver_table
from synfundus.labels import encode_conditions

SHAPE = (3, 16, 16)
SCHEDULE = ScheduleConfig(kind="cosine", prediction="v")
MIXED_SOLVERS = (
    SolverConfig(name="ddim", num_steps=12, guidance_scale=3.0),
    SolverConfig(name="dpmpp-2m", num_steps=7, spacing="karras", guidance_scale=1.0),
    SolverConfig(name="ddpm", num_steps=15, guidance_scale=2.0, guidance_interval=(0.3, 5.0)),
    SolverConfig(name="ddim", num_steps=9, spacing="log-snr", eta=0.7, guidance_scale=1.5),
    SolverConfig(name="dpmpp-2m", num_steps=11, guidance_scale=4.0, guidance_interval=(0.2, 3.0)),
)


class Recorded:
    """A U-Net that records the batch size of each forward and the number of its rows with the null condition."""

    def __init__(self, unet: Any) -> None:
        self.unet = unet
        self.batch_sizes: list[int] = []
        self.num_null_rows: list[int] = []

    def __call__(self, x: Tensor, t: Tensor, encoder_hidden_states: None, class_labels: Tensor) -> Any:
        self.batch_sizes.append(len(x))
        self.num_null_rows.append(int(class_labels[:, -1].sum()))
        return self.unet(x, t, encoder_hidden_states=encoder_hidden_states, class_labels=class_labels)


def request(i: int, solver: SolverConfig) -> RowRequest:
    """Return request i of a series with varying labels and seeds."""
    row = {"dr_grade": i % 5, "eye_side": i % 2, "is_amd": (i // 2) % 2, "is_fundus": 1}
    return RowRequest(encode_conditions([row])[0], sample_seed(3, i, 0), solver)


def finish(engine: Engine) -> dict[int, Tensor]:
    """Tick until no row is left; return the images by ticket."""
    images: dict[int, Tensor] = {}
    while engine.num_rows:
        images.update(engine.tick())
    return images


def alone(unet: Any, row: RowRequest, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the image of one request that is alone in the engine."""
    engine = Engine(unet, SCHEDULE, SHAPE, dtype=dtype)
    ticket = engine.submit(row)
    return finish(engine)[ticket]


def staggered(engine: Engine, requests: Sequence[RowRequest], every: int) -> list[Tensor]:
    """Submit one request every `every` ticks; return the images in the order of the requests."""
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


class AnalyticUnet:
    """A network whose output is a smooth function of pixel, timestep and condition, in the precision of its input."""

    @staticmethod
    def value(x: Any, t: Any, level: Any, library: Any) -> Any:
        """Return the output, computed by torch or numpy as `library`."""
        return 0.8 * library.tanh(x) * library.cos(t / 400.0) + 0.3 * level

    def __call__(self, x: Tensor, t: Tensor, encoder_hidden_states: None, class_labels: Tensor) -> Any:
        level = class_labels[:, 0] + 2.0 * class_labels[:, -1]
        return SimpleNamespace(sample=self.value(x, t[:, None, None, None], level[:, None, None, None], torch))


def float64_reference(row: RowRequest, schedule: ScheduleConfig) -> NDArray[np.float64]:
    """Denoise one row of an `AnalyticUnet` in float64, by the definitions of guidance and of a step."""
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
