"""Augmentation of training images. Every random number is a pure function of (seed, global sample position).

The augmentation is mild, because lesions are small and fundus photographs are taken upright. A horizontal flip turns a
right eye into a left one, so it swaps `eye_side`. There is no vertical flip, which would make an eye that cannot exist.
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
class Draws:
    """Random numbers of a batch, each array (B,)."""

    flip_B: NDArray[np.bool_]
    angle_rad_B: NDArray[np.float64]
    scale_B: NDArray[np.float64]
    brightness_B: NDArray[np.float64]
    contrast_B: NDArray[np.float64]


def draw(config: AugmentationConfig, seed: int, positions: range) -> Draws:
    """Draw the augmentation of each global sample position, independent of the batch that it lies in."""
    u_BK = np.stack([random_numbers("augmentation", seed, position).random(5) for position in positions])
    signed_BK = 2.0 * u_BK - 1.0
    return Draws(
        flip_B=u_BK[:, 0] < config.flip_probability,
        angle_rad_B=signed_BK[:, 1] * math.radians(config.rotation_deg),
        scale_B=np.exp(signed_BK[:, 2] * math.log1p(config.scale)),
        brightness_B=signed_BK[:, 3] * config.brightness,
        contrast_B=1.0 + signed_BK[:, 4] * config.contrast,
    )


def _warp(x_BCHW: Tensor, draws: Draws) -> Tensor:
    """Rotate and magnify about the centre, bilinear; pixels from outside repeat the border."""
    cos = torch.from_numpy(np.cos(draws.angle_rad_B) / draws.scale_B)
    sin = torch.from_numpy(np.sin(draws.angle_rad_B) / draws.scale_B)
    zero = torch.zeros_like(cos)
    theta = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(theta.to(x_BCHW), list(x_BCHW.shape), align_corners=False)
    return F.grid_sample(x_BCHW, grid, mode="bilinear", padding_mode="border", align_corners=False)


def augment(
    x_BCHW: Tensor, p_BV: Tensor, config: AugmentationConfig, seed: int, positions: range
) -> tuple[Tensor, Tensor]:
    """Augment normalised images, as `model.preprocess` returns them, and their head probabilities.

    In `p_BV` only `eye_side` changes: it becomes 1 - p where the image was flipped.
    """
    draws = draw(config, seed, positions)
    flip_B = torch.from_numpy(draws.flip_B).to(x_BCHW.device)
    x_BCHW = torch.where(flip_B[:, None, None, None], x_BCHW.flip(3), x_BCHW)
    side = HEADS["eye_side"]
    p_BV = p_BV.clone()
    p_BV[:, side] = torch.where(flip_B[:, None], 1.0 - p_BV[:, side], p_BV[:, side])
    if config.rotation_deg or config.scale:
        x_BCHW = _warp(x_BCHW, draws)
    if config.brightness or config.contrast:
        mean_B111 = x_BCHW.mean(dim=(1, 2, 3), keepdim=True)
        contrast_B, shift_B = (
            torch.from_numpy(v).to(x_BCHW)[:, None, None, None] for v in (draws.contrast_B, draws.brightness_B)
        )
        x_BCHW = (x_BCHW - mean_B111) * contrast_B + mean_B111 + shift_B
    return x_BCHW.contiguous(memory_format=torch.channels_last), p_BV
