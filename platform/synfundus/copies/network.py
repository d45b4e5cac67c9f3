"""The encoder's network and its input: the fine structure of one grey channel, evened in light and contrast.

Shapes: B images, C channels, H, W pixels, S the encoder's input size, D numbers of a code.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

GREY_WEIGHTS = (0.25, 0.65, 0.10)
"""Weights of red, green and blue. Vessels have most contrast in green; red and blue help if green is under-exposed."""
DARK = 10.225 / 255
"""Grey level (0 to 1) up to which a pixel lies outside the field of view. Grey levels of 8-bit pixels are multiples of
0.05 / 255, so none lies at the limit, where rounding on another device would move the rim of the field."""
WINDOW = 4
"""Side of the window of local mean and deviation, as the share 1 / WINDOW of the image's side."""
NOISE_LEVEL = 0.01
"""Grey level (0 to 1) added to the local deviation, so that flat areas are not raised to noise."""
LARGEST = 3.0
"""Largest normalised value."""
FINAL_PX = 4
"""Side of the last level, which a linear layer reads."""
CODE_DIM = 64
"""Numbers of a code, half of those of a descriptor."""


def resized(images_BHWC: NDArray[np.uint8] | Tensor, size_px: int) -> Tensor:
    """Return images (B, H, W, 3) of any size as float32 (B, 3, S, S) in [0, 1], on the device of the tensor."""
    x_BCHW = torch.as_tensor(images_BHWC).permute(0, 3, 1, 2).float().div(255.0)
    if x_BCHW.shape[2:] != (size_px, size_px):
        x_BCHW = F.interpolate(x_BCHW, size=(size_px, size_px), mode="bilinear", antialias=True, align_corners=False)
    return x_BCHW


def to_grey(x_BCHW: Tensor) -> Tensor:
    """Return the grey channel, (B, 1, H, W)."""
    return (x_BCHW * x_BCHW.new_tensor(GREY_WEIGHTS).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _local_mean(x_B1HW: Tensor) -> Tensor:
    """Return the mean over a window, twice, which is nearly a Gaussian; pixels outside count as 0."""
    reach = x_B1HW.shape[-1] // WINDOW // 2
    for _ in range(2):
        x_B1HW = F.avg_pool2d(x_B1HW, 2 * reach + 1, stride=1, padding=reach)
    return x_B1HW


def fine_structure(grey_B1HW: Tensor) -> Tensor:
    """Return the grey level minus its local mean over its local deviation, within the field of view; 0 outside.

    Exposure, light that falls from one side and the contrast of the camera disappear; vessels, disc and lesions stay.
    """
    lit_B1HW = (grey_B1HW > DARK).to(grey_B1HW.dtype)
    weight_B1HW = _local_mean(lit_B1HW).clamp_min(1e-3)
    detail_B1HW = (grey_B1HW - _local_mean(grey_B1HW * lit_B1HW) / weight_B1HW) * lit_B1HW
    deviation_B1HW = (_local_mean(detail_B1HW.square()) / weight_B1HW).sqrt()
    # The rim of the field is left out: it would outweigh everything that distinguishes two photographs.
    inner_B1HW = -F.max_pool2d(-lit_B1HW, 3, stride=1, padding=1)
    return (detail_B1HW / (deviation_B1HW + NOISE_LEVEL)).clamp(-LARGEST, LARGEST) * inner_B1HW


def _convolution(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class _Level(nn.Module):
    """A level at half the resolution of the one before."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.down = _convolution(channels_in, channels_out, 2)
        self.same = _convolution(channels_out, channels_out, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.down(x_BCHW)
        return torch.add(x_BCHW, self.same(x_BCHW))


class CopyNetwork(nn.Module):
    """Encoder from a normalised grey channel (B, 1, S, S) to codes of unit length (B, D).

    It halves the resolution until `FINAL_PX`. The linear layer at the end reads all places of the last level, because
    the layout of the vessels tells two eyes apart.
    """

    def __init__(self, image_size_px: int, width: int) -> None:
        super().__init__()
        self.stem = _convolution(1, width, 2)
        levels, channels, size_px = list[nn.Module](), width, image_size_px // 2
        while size_px > FINAL_PX:
            levels.append(_Level(channels, 2 * channels))
            channels, size_px = 2 * channels, size_px // 2
        self.levels = nn.Sequential(*levels)
        self.code = nn.Linear(channels * size_px**2, CODE_DIM)

    def forward(self, x_B1SS: Tensor) -> Tensor:
        return F.normalize(self.code(self.levels(self.stem(x_B1SS)).flatten(1)), dim=1)
