"""Random alterations of photographs for the training of the encoder, on its device.

A training pair is one photograph in two views. The first view is moved little and stands for the stored photograph, the
second one for a copy. Every random number is a pure function of (seed, global sample position, view), so a resumed
training sees the same views.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from synfundus.copies.config import CopyDetectorConfig
from synfundus.copies.network import GREY_WEIGHTS, to_grey
from synfundus.seeds import random_numbers

ROTATION_DEG = 18.0
"""Largest rotation of the second view."""
LARGEST_ZOOM, SMALLEST_ZOOM = 1.45, 0.8
"""Limits of the magnification of the second view."""
SHIFT = 0.14
"""Largest shift of the second view in each direction, as a share of the image's side."""
FIRST_VIEW = 0.3
"""Share of rotation, magnification (of its logarithm) and shift in the first view. A search compares an altered copy
with a photograph as it is. Training on two views that are both moved far spends the code on pairs that never occur."""
NUM_PLACEMENTS = 4
"""Random numbers of a view that place it: rotation, magnification, shift to the right and downwards."""
GAMMA = 1.5
"""Largest exponent of the tone curve; the smallest is its inverse."""
TINT = 0.25
"""Largest change of a colour channel's weight in the grey channel, before the three weights are made to add up to 1."""
EXPOSURE = 1.5
"""Largest factor of the light; the smallest is its inverse."""
LIGHT = 0.4
"""Largest slope of the light: it changes by this share from the centre to each edge, horizontally and vertically."""
SHARPNESS = 0.7
"""Largest share of the finest detail (windows of 3 px) that is added or taken away."""
NOISE = 0.02
"""Largest standard deviation of noise, for grey levels in [0, 1]."""
NUM_DRAWS = 13


def draw_views(config: CopyDetectorConfig, positions: range, view: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Draw the alteration of the photographs at these global sample positions.

    Returns:
        Uniform numbers in [-1, 1), (B, NUM_DRAWS), and standard normal numbers, (B, 1, S, S). The numbers that place
        the first view lie in a smaller range.
    """
    size_px = config.image_size_px
    streams = [random_numbers("copy view", config.seed, position, view) for position in positions]
    u_BK = np.stack([2.0 * stream.random(NUM_DRAWS, np.float32) - 1.0 for stream in streams])
    if view == 0:
        u_BK[:, :NUM_PLACEMENTS] *= FIRST_VIEW
    noise_B1SS = np.stack([stream.standard_normal((1, size_px, size_px), np.float32) for stream in streams])
    return torch.from_numpy(u_BK).to(device), torch.from_numpy(noise_B1SS).to(device)


def altered(x_BCSS: Tensor, u_BK: Tensor, noise_B1SS: Tensor) -> Tensor:
    """Return the grey channel (B, 1, S, S) of altered colour images in [0, 1]; arguments as `draw_views` returns."""
    x_BCSS = _moved(x_BCSS, u_BK[:, :NUM_PLACEMENTS])
    lit_B1SS = to_grey(x_BCSS) > 0.0
    grey_B1SS = (x_BCSS * _weights(u_BK[:, 4:7])).sum(1, keepdim=True).clamp(0.0, 1.0)
    gamma_B, sharpness_B, noise_B = u_BK[:, 7:10].reshape(-1, 3, 1, 1, 1).unbind(1)
    grey_B1SS = (grey_B1SS ** (gamma_B * math.log(GAMMA)).exp() * _light(u_BK[:, 10:13], x_BCSS.shape[-1])).clamp_max(
        1.0
    )
    smooth_B1SS = F.avg_pool2d(grey_B1SS, 3, stride=1, padding=1)
    grey_B1SS = grey_B1SS + SHARPNESS * sharpness_B * (grey_B1SS - smooth_B1SS)
    grey_B1SS = grey_B1SS + NOISE * noise_B.abs() * noise_B1SS
    return torch.where(lit_B1SS, grey_B1SS.clamp(0.0, 1.0), 0.0)


def _weights(u_B3: Tensor) -> Tensor:
    """Return the weights of red, green and blue in the grey channel, (B, 3, 1, 1); they add up to 1."""
    weights_B3 = (u_B3.new_tensor(GREY_WEIGHTS) + TINT * u_B3).clamp_min(0.02)
    return (weights_B3 / weights_B3.sum(1, keepdim=True))[:, :, None, None]


def _light(u_B3: Tensor, size_px: int) -> Tensor:
    """Return factors of the light, (B, 1, S, S): exposure and a linear slope."""
    exposure_B, right_B, down_B = u_B3.reshape(-1, 3, 1, 1, 1).unbind(1)
    place_S = torch.linspace(-1.0, 1.0, size_px, device=u_B3.device)
    slope_B1SS = 1.0 + LIGHT * (right_B * place_S[None, :] + down_B * place_S[:, None])
    return (exposure_B * math.log(EXPOSURE)).exp() * slope_B1SS


def _moved(x_BCSS: Tensor, u_B4: Tensor) -> Tensor:
    """Rotate, magnify and shift, bilinear; pixels from outside are black."""
    angle_B = math.radians(ROTATION_DEG) * u_B4[:, 0]
    limit_B = torch.where(u_B4[:, 1] > 0, math.log(LARGEST_ZOOM), -math.log(SMALLEST_ZOOM))
    zoom_B = (limit_B * u_B4[:, 1]).exp()
    cos_B, sin_B = angle_B.cos() / zoom_B, angle_B.sin() / zoom_B
    right_B, down_B = 2.0 * SHIFT * u_B4[:, 2], 2.0 * SHIFT * u_B4[:, 3]
    theta_B23 = torch.stack([torch.stack([cos_B, -sin_B, right_B], 1), torch.stack([sin_B, cos_B, down_B], 1)], 1)
    grid_BSS2 = F.affine_grid(theta_B23, list(x_BCSS.shape), align_corners=False)
    return F.grid_sample(x_BCSS, grid_BSS2, mode="bilinear", padding_mode="zeros", align_corners=False)
