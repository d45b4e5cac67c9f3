"""The engine against diffusers' loop and a float64 reference."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from support.rows import MIXED_SOLVERS, SCHEDULE, SHAPE, AnalyticUnet, finish, float64_reference, request, staggered
from synfundus.diffusion.config import ScheduleConfig, SolverConfig
from synfundus.diffusion.engine import Engine, RowRequest, to_uint8
from synfundus.diffusion.noise import normal
from synfundus.diffusion.schedule import Schedule
from synfundus.labels import null_condition

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def diffusers_loop(unet: Any, scheduler: Any, rows: Sequence[RowRequest]) -> Tensor:
    """Sample with diffusers' scheduler, guidance written out, and the engine's initial noise."""
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
    """A network that converts the output of one that predicts v: eps = alpha v + sigma x."""

    def __init__(self, unet: Any, schedule: ScheduleConfig) -> None:
        self.unet, self.schedule = unet, Schedule(schedule)

    def __call__(self, x: Tensor, t: Tensor, encoder_hidden_states: None, class_labels: Tensor) -> Any:
        v = self.unet(x, t, encoder_hidden_states=encoder_hidden_states, class_labels=class_labels).sample
        alpha, sigma = (
            level[t.long()].float().view(-1, 1, 1, 1) for level in (self.schedule.alpha_t, self.schedule.sigma_t)
        )
        return SimpleNamespace(sample=alpha * v + sigma * x)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_lock_step_ddim_equals_the_loop_of_diffusers(unet: Any, prediction: str) -> None:
    schedule = ScheduleConfig.model_validate({"kind": "linear", "prediction": prediction})
    network = EpsilonOf(unet, schedule) if prediction == "epsilon" else unet
    rows = [request(i, SolverConfig(num_steps=10, guidance_scale=2.5)) for i in range(4)]
    engine = Engine(network, schedule, SHAPE, bucket_sizes=(4, 8))
    tickets = [engine.submit(row) for row in rows]
    images = finish(engine)
    engine_images = torch.stack([images[ticket] for ticket in tickets])
    expected = diffusers_loop(network, DDIMScheduler.from_config(Schedule(schedule).scheduler_config()), rows)
    assert float((engine_images - expected.clamp(-1.0, 1.0)).abs().max()) < 1e-4
    uint8 = to_uint8(expected).numpy().astype(int)
    assert np.abs(engine.run(rows, 4).astype(int) - uint8).max() <= 1


def test_lock_step_dpmpp_equals_the_loop_of_diffusers(unet: Any) -> None:
    rows = [request(i, SolverConfig(name="dpmpp-2m", num_steps=10, guidance_scale=2.5)) for i in range(4)]
    saved = Schedule(SCHEDULE).scheduler_config()
    scheduler = DPMSolverMultistepScheduler.from_config(saved, thresholding=True, sample_max_value=1.0)
    expected = to_uint8(diffusers_loop(unet, scheduler, rows)).numpy().astype(int)
    assert np.abs(Engine(unet, SCHEDULE, SHAPE).run(rows, 4).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_mixed_rows_equal_the_float64_reference(prediction: str) -> None:
    schedule = ScheduleConfig.model_validate({"kind": "linear", "prediction": prediction})
    solvers = [*MIXED_SOLVERS, MIXED_SOLVERS[0].model_copy(update={"clip": False, "guidance_scale": 1.0})]
    requests = [request(i, solver) for i, solver in enumerate(solvers)]
    images = staggered(Engine(AnalyticUnet(), schedule, SHAPE), requests, every=2)
    for image, row in zip(images, requests, strict=True):
        # float32 against float64; with epsilon, x0 is a difference divided by alpha, which starts at 0.0064.
        np.testing.assert_allclose(image.numpy(), float64_reference(row, schedule), rtol=0, atol=2e-4)
    assert sum(float(image.std()) > 0.05 for image in images) >= 3
