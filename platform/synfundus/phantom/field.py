"""The canvas of a phantom: coordinates, masks of polygons, smooth noise, blending.

The unit of length is the radius of the field of view (x to the right, y down; the field is the unit disc), so that a
seed gives the same scene at every size. Colours are display values in [0, 1]; images are `rgb_CHW` float32.
"""

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter

from synfundus.labels import FloatArray

Points = NDArray[np.float64]


def stream(seed: int, purpose: str) -> np.random.Generator:
    """Return the random generator of one purpose. Each purpose has its own, so omitting a finding changes no other."""
    return np.random.default_rng((seed, zlib.crc32(purpose.encode())))


def smoothstep(x: NDArray[np.floating]) -> FloatArray:
    """Return 0 below 0, 1 above 1, and 3x² - 2x³ between."""
    t = np.clip(x, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


class Field:
    """The square image of `size_px` pixels a side that circumscribes the field of view."""

    def __init__(self, size_px: int) -> None:
        self.size_px = size_px
        self.pixel = 2.0 / size_px
        # With enough samples per pixel, a vessel thinner than a pixel still fades in and out evenly.
        self.oversampling = max(2 if size_px > 256 else 3, 512 // size_px)
        axis = ((np.arange(size_px) + 0.5) * self.pixel - 1.0).astype(np.float32)
        self.x_HW, self.y_HW = np.meshgrid(axis, axis)
        self.radius_HW = np.hypot(self.x_HW, self.y_HW)
        for array in (self.x_HW, self.y_HW, self.radius_HW):
            array.flags.writeable = False

    def distance(self, centre: ArrayLike, aspect: float = 1.0) -> FloatArray:
        """Return the distance to `centre`; `aspect` > 1 makes its level lines taller than wide."""
        cx, cy = np.asarray(centre, np.float32)
        return np.asarray(np.hypot(self.x_HW - cx, (self.y_HW - cy) / np.float32(aspect)), dtype=np.float32)

    def disc(self, distance_HW: FloatArray, radius: float, softness: float) -> FloatArray:
        """Return 1 inside `radius` and 0 outside, with an edge `softness` wide and never sharper than a pixel."""
        width = max(softness, 1.2 * self.pixel)
        return smoothstep((np.float32(radius) - distance_HW) / np.float32(width) + np.float32(0.5))

    def mask(self, polygons: Sequence[Points], softness: float = 0.0) -> FloatArray:
        """Return the coverage in [0, 1] of the union of polygons.

        Args:
            polygons: arrays (num_polygons, num_corners, 2).
            softness: standard deviation of a Gaussian over the coverage.
        """
        factor = self.oversampling
        side = self.size_px * factor
        image = Image.new("L", (side, side))
        draw = ImageDraw.Draw(image)
        for group in polygons:
            corners = (group.reshape(len(group), -1) + 1.0) * (side / 2.0) - 0.5
            for polygon in corners.tolist():
                draw.polygon(polygon, fill=255)
        coverage = image.reduce(factor)
        if softness > 0.2 * self.pixel:
            coverage = coverage.filter(ImageFilter.GaussianBlur(softness / self.pixel))
        return np.asarray(coverage, dtype=np.float32) * np.float32(1.0 / 255.0)

    def noise(self, rng: np.random.Generator, cells: int) -> FloatArray:
        """Draw smooth noise of about unit variance; grains are 2 / `cells` wide."""
        return self.enlarge(rng.standard_normal((cells, cells), dtype=np.float32)) * np.float32(1.25)

    def enlarge(self, grid: FloatArray) -> FloatArray:
        """Resize a grid over the whole square to the image; a grid finer than the image is antialiased."""
        side = (self.size_px, self.size_px)
        return np.asarray(Image.fromarray(grid).resize(side, Image.Resampling.BICUBIC))

    def soften(self, image_HW: FloatArray, cells: int) -> FloatArray:
        """Remove all detail finer than 2 / `cells`."""
        small = Image.fromarray(image_HW).resize((cells, cells), Image.Resampling.HAMMING)
        return np.asarray(small.resize((self.size_px, self.size_px), Image.Resampling.BICUBIC))


@lru_cache(maxsize=8)
def field_of(size_px: int) -> Field:
    """Return the (read-only) field of a size; it is made once."""
    return Field(size_px)


def blend(rgb_CHW: FloatArray, mask_HW: FloatArray, colour: Sequence[float]) -> None:
    """Cover the image, in place, with an opaque colour where the mask is 1."""
    for channel_HW, value in zip(rgb_CHW, colour, strict=True):
        channel_HW += mask_HW * (np.float32(value) - channel_HW)


def absorb(rgb_CHW: FloatArray, mask_HW: FloatArray, transmission: Sequence[float]) -> None:
    """Multiply each channel, in place, by its `transmission` where the mask is 1, like a dye."""
    for channel_HW, value in zip(rgb_CHW, transmission, strict=True):
        channel_HW *= 1.0 - mask_HW * np.float32(1.0 - value)


def blobs(
    rng: np.random.Generator, centres: Points, radii: ArrayLike, wobble: float = 0.18, aspect: float = 1.0
) -> Points:
    """Draw irregular closed outlines (num, 22, 2) of mean radius `radii` about `centres` (num, 2), randomly turned."""
    num = len(centres)
    angle = np.linspace(0.0, 2.0 * np.pi, 22, endpoint=False)
    phase = rng.uniform(0.0, 2.0 * np.pi, (num, 3, 1))
    order = np.array([2.0, 3.0, 5.0])[:, None]
    reach = 1.0 + wobble * (np.sin(order * angle + phase) / order).sum(axis=1) * 1.6
    reach *= np.broadcast_to(np.asarray(radii, np.float64), (num,))[:, None]
    turn = rng.uniform(0.0, 2.0 * np.pi, (num, 1))
    u, v = reach * np.cos(angle) * aspect, reach * np.sin(angle)
    outline = np.stack([u * np.cos(turn) - v * np.sin(turn), u * np.sin(turn) + v * np.cos(turn)], axis=-1)
    return np.asarray(outline + centres[:, None])


def ribbons(points: Points, width: ArrayLike) -> Points:
    """Return outlines (num, 2 steps, 2) of strokes along `points` (num, steps, 2); `width` broadcasts to them."""
    along = np.gradient(points, axis=1)
    along /= np.linalg.norm(along, axis=-1, keepdims=True) + 1e-12
    side = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    side *= 0.5 * np.broadcast_to(np.asarray(width, np.float64), points.shape[:2])[..., None]
    return np.concatenate([points + side, (points - side)[:, ::-1]], axis=1)
