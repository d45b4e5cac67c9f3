"""Altered copies of photographs, by kind: what the detector is measured on.

They are made with Pillow at the photograph's own size, and share no code with the training's `augmentation`.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synfundus.seeds import random_numbers

Pixels = NDArray[np.uint8]
"""One image, (H, W, 3)."""
Alteration = Callable[[Pixels, np.random.Generator], Pixels]


@dataclass(frozen=True)
class Placement:
    """A part of a photograph that fills the copy."""

    angle_deg: float = 0.0
    """Anticlockwise."""
    zoom: float = 1.0
    """More than 1 magnifies."""
    right: float = 0.0
    """Shift to the right, as a share of the side."""
    down: float = 0.0
    """Shift downwards, as a share of the side."""


def moved(image_HWC: Pixels, placement: Placement) -> Pixels:
    """Rotate and magnify about the centre, then shift; bicubic, black outside."""
    height, width = image_HWC.shape[:2]
    angle, centre = np.radians(placement.angle_deg), np.array([(width - 1) / 2, (height - 1) / 2]) + 0.5
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / placement.zoom
    offset = centre - turn @ (centre + np.array([placement.right * width, placement.down * height]))
    data = (turn[0, 0], turn[0, 1], offset[0], turn[1, 0], turn[1, 1], offset[1])
    picture = Image.fromarray(image_HWC)
    return np.asarray(picture.transform((width, height), Image.Transform.AFFINE, data, Image.Resampling.BICUBIC))


def encoded_again(image_HWC: Pixels, quality: int) -> Pixels:
    """Encode as JPEG and decode again."""
    sink = io.BytesIO()
    Image.fromarray(image_HWC).save(sink, "JPEG", quality=quality)
    return np.asarray(Image.open(sink).convert("RGB"))


def recoloured(image_HWC: Pixels, rng: np.random.Generator) -> Pixels:
    """Change the tone curve and the strength of each colour, and let the light fall from one side."""
    height, width = image_HWC.shape[:2]
    x_HWC = (image_HWC / 255.0) ** np.exp(rng.uniform(-0.3, 0.3))
    y_H1, x_1W = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    direction = rng.uniform(0, 2 * np.pi)
    light_HW = 1.0 + rng.uniform(0.15, 0.35) * (np.cos(direction) * x_1W + np.sin(direction) * y_H1)
    x_HWC = x_HWC * light_HW[:, :, None] * rng.uniform(0.75, 1.25, 3)
    return np.asarray((np.clip(x_HWC, 0, 1) * 255).round(), np.uint8)


def mirrored(image_HWC: Pixels) -> Pixels:
    """Swap left and right."""
    return np.ascontiguousarray(image_HWC[:, ::-1])


def _sign(rng: np.random.Generator) -> float:
    return float(rng.choice([-1.0, 1.0]))


def _rotated(angle_deg: float) -> Alteration:
    return lambda image, rng: moved(image, Placement(angle_deg=_sign(rng) * angle_deg))


def _zoomed(zoom: float) -> Alteration:
    return lambda image, _: moved(image, Placement(zoom=zoom))


def _shifted(share: float) -> Alteration:
    """Shift by this share of the side, in a random direction."""

    def shift(image: Pixels, rng: np.random.Generator) -> Pixels:
        direction = rng.uniform(0, 2 * np.pi)
        return moved(image, Placement(right=share * np.cos(direction), down=share * np.sin(direction)))

    return shift


def _cropped(side: float) -> Alteration:
    """Keep a square of this share of the side, at a random place, and enlarge it to the whole size."""

    def crop(image: Pixels, rng: np.random.Generator) -> Pixels:
        right, down = rng.uniform(-1, 1, 2) * (1 - side) / 2 / side
        return moved(image, Placement(zoom=1 / side, right=right, down=down))

    return crop


def _mixed(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Mirror every second image; rotate, zoom, shift, recolour and encode each one."""
    placement = Placement(rng.uniform(-10, 10), rng.uniform(0.9, 1.15), *rng.uniform(-0.05, 0.05, 2))
    image = moved(mirrored(image) if rng.random() < 0.5 else image, placement)
    return encoded_again(recoloured(image, rng), 75)


ALTERATIONS: Final[Mapping[str, Alteration]] = {
    "mirrored": lambda image, _: mirrored(image),
    "JPEG of quality 50": lambda image, _: encoded_again(image, 50),
    "rotated by 5 degrees": _rotated(5),
    "rotated by 10 degrees": _rotated(10),
    "rotated by 15 degrees": _rotated(15),
    "shifted by 3 % of the side": _shifted(0.03),
    "shifted by 8 % of the side": _shifted(0.08),
    "enlarged by 10 %": _zoomed(1.10),
    "reduced by 10 %": _zoomed(1 / 1.10),
    "cropped to 80 % of the side": _cropped(0.80),
    "recoloured": recoloured,
    "all mixed": _mixed,
}
"""Kinds of alterations, in the order in which a table shows them."""
MILDEST: Final = ("mirrored", "JPEG of quality 50")
"""Kinds that a working detector finds almost always, whatever the photographs."""


def altered_copy(kind: str, image_HWC: Pixels, number: int) -> Pixels:
    """Return image `number` of a set altered by a kind; the same for the same arguments."""
    return ALTERATIONS[kind](image_HWC, random_numbers("alteration", kind, number))
