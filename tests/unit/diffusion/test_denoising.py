"""Losses of single images: closed forms, and independence of the batch."""

from typing import Any

import numpy as np
import pytest
import torch

from support.spots import CPU, TINY, Spots, learner_of, set_bias
from synfundus.diffusion.checkpoint import Generator
from synfundus.diffusion.config import ScheduleConfig
from synfundus.diffusion.denoising import TIMESTEP_FRACTIONS, log_losses, scaled
from synfundus.diffusion.noise import normal
from synfundus.diffusion.schedule import Schedule
from synfundus.labels import CONDITION_DIM
from synfundus.seeds import derive_seed

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

IMAGES = np.stack([Spots().pixels(i) for i in range(6)])
CONDITIONS = np.zeros((6, CONDITION_DIM), np.float32)


def generator_of(bias: float, prediction: str, *, perturb: bool = False) -> Generator:
    learner = learner_of(TINY.model_copy(update={"schedule": schedule(prediction)}), perturb=perturb)
    set_bias(learner, bias)
    return Generator(learner.network.eval(), schedule(prediction), 8, "")


def schedule(prediction: Any) -> ScheduleConfig:
    return ScheduleConfig(prediction=prediction)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_the_loss_of_a_constant_output_is_the_mean_square_of_the_target_minus_the_constant(prediction: str) -> None:
    bias, first = 0.25, 3
    found = log_losses(generator_of(bias, prediction), IMAGES, CONDITIONS, first, CPU)
    levels, x0 = Schedule(schedule(prediction), CPU), scaled(IMAGES, CPU)
    for column, fraction in enumerate(TIMESTEP_FRACTIONS):
        t_B = torch.full((6,), int(1000 * fraction))
        rows = torch.arange(first, first + 6)
        eps = normal(torch.full_like(rows, derive_seed("membership", column)), rows, (3, 8, 8))
        alpha, sigma = (
            torch.sqrt(share)
            for share in (torch.sigmoid(levels.log_snr[t_B[0]]), torch.sigmoid(-levels.log_snr[t_B[0]]))
        )
        target = eps if prediction == "epsilon" else alpha * eps - sigma * x0
        expected = (bias - target).double().square().mean(dim=(1, 2, 3)).log().numpy()
        assert found[:, column] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_loss_of_an_image_depends_on_its_number_and_not_on_its_batch() -> None:
    generator = generator_of(0.0, "v", perturb=True)
    whole = log_losses(generator, IMAGES, CONDITIONS, 0, CPU)
    parts = [log_losses(generator, IMAGES[i : i + 2], CONDITIONS[i : i + 2], i, CPU) for i in (0, 2, 4)]
    assert np.concatenate(parts) == pytest.approx(whole, rel=1e-4)
    assert not np.allclose(log_losses(generator, IMAGES, CONDITIONS, 100, CPU), whole, rtol=1e-4)
