"""Augmentation of training images; every draw is a pure function of (seed, global sample position).

Mild on purpose: lesions are small, and a fundus photograph is taken upright. A horizontal flip makes a right eye a
left one, so it swaps `eye_side`; there is no vertical flip, which makes no eye that exists.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from synfundus.diagnosis.config import AugmentationConfig
from synfundus.labels import HEADS
from synfundus.seeds import random_numbers


@dataclass(frozen=True)
class Draw:
    """What was drawn for each image of a batch, each (B,)."""

    flip_B: NDArray[np.bool_]
    angle_rad_B: NDArray[np.float64]
    scale_B: NDArray[np.float64]
    brightness_B: NDArray[np.float64]
    contrast_B: NDArray[np.float64]


def draw(config: AugmentationConfig, seed: int, positions: range) -> Draw:
    """The draws of global sample positions; the same for a position whatever batch it lies in."""
    u_BK = np.stack([random_numbers("augmentation", seed, position).random(5) for position in positions])
    signed_BK = 2.0 * u_BK - 1.0
    return Draw(
        flip_B=u_BK[:, 0] < config.flip_probability,
        angle_rad_B=signed_BK[:, 1] * math.radians(config.rotation_deg),
        scale_B=np.exp(signed_BK[:, 2] * math.log1p(config.scale)),
        brightness_B=signed_BK[:, 3] * config.brightness,
        contrast_B=1.0 + signed_BK[:, 4] * config.contrast,
    )


def _warp(x_BCHW: Tensor, drawn: Draw) -> Tensor:
    """Rotate and magnify about the centre, bilinear; what comes in from outside repeats the border."""
    cos = torch.from_numpy(np.cos(drawn.angle_rad_B) / drawn.scale_B)
    sin = torch.from_numpy(np.sin(drawn.angle_rad_B) / drawn.scale_B)
    zero = torch.zeros_like(cos)
    theta = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(theta.to(x_BCHW), list(x_BCHW.shape), align_corners=False)
    return F.grid_sample(x_BCHW, grid, mode="bilinear", padding_mode="border", align_corners=False)


def augment(
    x_BCHW: Tensor, p_BV: Tensor, config: AugmentationConfig, seed: int, positions: range
) -> tuple[Tensor, Tensor]:
    """Augmented images (normalised, as `model.preprocess` makes them) and their head probabilities.

    `p_BV` changes in `eye_side` alone, 1 - p where the image was flipped.
    """
    drawn = draw(config, seed, positions)
    flip_B = torch.from_numpy(drawn.flip_B).to(x_BCHW.device)
    x_BCHW = torch.where(flip_B[:, None, None, None], x_BCHW.flip(3), x_BCHW)
    side = HEADS["eye_side"]
    p_BV = p_BV.clone()
    p_BV[:, side] = torch.where(flip_B[:, None], 1.0 - p_BV[:, side], p_BV[:, side])
    if config.rotation_deg or config.scale:
        x_BCHW = _warp(x_BCHW, drawn)
    if config.brightness or config.contrast:
        mean_B111 = x_BCHW.mean(dim=(1, 2, 3), keepdim=True)
        contrast_B, shift_B = (
            torch.from_numpy(v).to(x_BCHW)[:, None, None, None] for v in (drawn.contrast_B, drawn.brightness_B)
        )
        x_BCHW = (x_BCHW - mean_B111) * contrast_B + mean_B111 + shift_B
    return x_BCHW.contiguous(memory_format=torch.channels_last), p_BV
