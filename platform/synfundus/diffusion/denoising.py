"""Errors of a network that removes noise from images: the loss of training, and the measurement of single images."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synfundus.diffusion.checkpoint import Generator
from synfundus.diffusion.noise import normal
from synfundus.diffusion.schedule import Schedule
from synfundus.labels import FloatArray
from synfundus.seeds import derive_seed

TIMESTEP_FRACTIONS = (0.05, 0.1, 0.2, 0.3, 0.5)
"""Timesteps of `log_losses`, as shares of T. Members differ most at little to medium noise (Carlini et al. 2023, arXiv
2301.13188, figure 8; Matsumoto et al. 2023, arXiv 2302.03262)."""


def scaled(images_BHWC: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Return images as float32 (B, C, H, W) in [-1, 1] on `device`."""
    return torch.from_numpy(images_BHWC).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def target_errors(
    network: nn.Module, schedule: Schedule, x0_BCHW: Tensor, condition_BD: Tensor, t_B: Tensor, eps_BCHW: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the network's errors in the target, float32 (B, C, H, W), and the target."""
    x_t_BCHW = schedule.add_noise(x0_BCHW, eps_BCHW, t_B).contiguous(memory_format=torch.channels_last)
    target_BCHW = schedule.target(x0_BCHW, eps_BCHW, t_B)
    (output_BCHW,) = network(x_t_BCHW, t_B, encoder_hidden_states=None, class_labels=condition_BD, return_dict=False)
    return output_BCHW.float() - target_BCHW, target_BCHW


@torch.no_grad()
def log_losses(
    generator: Generator, images_BHWC: NDArray[np.uint8], condition_BD: FloatArray, first: int, device: torch.device
) -> NDArray[np.float64]:
    """Return the log of each image's mean squared error at each of `TIMESTEP_FRACTIONS`, float64 (B, T).

    The noise depends on the timestep and on the number of the image, `first`, `first` + 1, ...: two generators meet the
    same noise. At one timestep, the errors in epsilon and in v differ by a factor only, which the log makes a constant.
    """
    schedule = Schedule(generator.schedule, device)
    x0_BCHW, row_B = scaled(images_BHWC, device), torch.arange(first, first + len(images_BHWC), device=device)
    labels_BD = torch.from_numpy(condition_BD).to(device)
    columns = []
    for number, fraction in enumerate(TIMESTEP_FRACTIONS):
        t_B = torch.full_like(row_B, int(fraction * generator.schedule.num_train_timesteps))
        eps_BCHW = normal(torch.full_like(row_B, derive_seed("membership", number)), row_B, generator.image_shape)
        error_BCHW, _ = target_errors(generator.unet, schedule, x0_BCHW, labels_BD, t_B, eps_BCHW)
        columns.append(error_BCHW.double().square().mean(dim=(1, 2, 3)).log())
    return np.asarray(torch.stack(columns, dim=1).cpu().numpy(), np.float64)
