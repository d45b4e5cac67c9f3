"""One image at the size at which its anatomy is measured, with its field of view and its background.

All lengths of this package are pixels of this canvas. `RADIUS_PX` of them are a radius of the field of view, because a
prepared image circumscribes its field.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from synfundus.labels import FloatArray

SIDE_PX = 128
"""Side of the canvas. At it the optic disc is about 20 px wide and a large vessel 2 px."""
FINE_PX = 256
"""Side at which the cup is measured."""
RADIUS_PX = SIDE_PX / 2
FIELD_LEVEL = 0.15
"""Level of the brightest channel, relative to the brightest parts of the image, from which a pixel is in the field."""
RIM_PX = 4
"""Width of the rim of the field that is not searched: its edge is dark like a vessel."""
BACKGROUND_PX = 16.0
"""Standard deviation of the Gaussian that estimates the background: wider than the disc."""


@dataclass(frozen=True)
class Canvas:
    """One image with its field of view."""

    rgb_HW3: FloatArray
    """(SIDE_PX, SIDE_PX, 3) in [0, 1]."""
    fine_HW3: FloatArray
    """(FINE_PX, FINE_PX, 3) in [0, 1]: the same for the cup, which is small."""
    field_HW: NDArray[np.bool_]
    """True in the field of view."""
    inner_HW: NDArray[np.bool_]
    """True in the field without its rim."""

    @classmethod
    def of(cls, image_HWC: NDArray[np.uint8]) -> "Canvas":
        """Resize an image (H, W, 3) of any size and find its field of view."""
        rgb_HW3, fine_HW3 = _resized(image_HWC, SIDE_PX), _resized(image_HWC, FINE_PX)
        field_HW = _field(rgb_HW3)
        # The border of the canvas counts as outside: a field that the frame cuts has a rim there, too.
        inner_HW = ndimage.binary_erosion(field_HW, iterations=RIM_PX, border_value=0)
        return cls(rgb_HW3, fine_HW3, field_HW, inner_HW)

    @cached_property
    def _nearest_inner(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Row and column of the pixel of the inner field that is nearest to each pixel."""
        rows, columns = ndimage.distance_transform_edt(~self.inner_HW, return_distances=False, return_indices=True)
        return rows, columns

    def extended(self, level_HW: FloatArray) -> FloatArray:
        """Return a level that continues beyond the inner field as it is at its border, so that no edge is there."""
        return np.asarray(level_HW[self._nearest_inner])

    def evened(self, level_HW: FloatArray) -> FloatArray:
        """Return a level divided by its background, continued beyond the inner field."""
        relative_HW = level_HW / np.maximum(self.background(level_HW), np.float32(1e-3))
        return self.extended(np.asarray(relative_HW, np.float32))

    def background(self, level_HW: FloatArray) -> FloatArray:
        """Return the mean of a level over the inner field around each pixel, weighted by a Gaussian."""
        inside_HW = self.inner_HW.astype(np.float32)
        weight_HW = ndimage.gaussian_filter(inside_HW, BACKGROUND_PX)
        total_HW = ndimage.gaussian_filter(level_HW * inside_HW, BACKGROUND_PX)
        return np.asarray(total_HW / np.maximum(weight_HW, 1e-6), np.float32)


def _resized(image_HWC: NDArray[np.uint8], side_px: int) -> FloatArray:
    """Return an image of another size, antialiased, in [0, 1]."""
    image, side = Image.fromarray(image_HWC), (side_px, side_px)
    resized = image if image.size == side else image.resize(side, Image.Resampling.BICUBIC)
    return np.asarray(resized, np.float32) / np.float32(255.0)


def _field(rgb_HW3: FloatArray) -> NDArray[np.bool_]:
    """Return the largest connected region that is lit, without holes; nothing for a black image."""
    level_HW = ndimage.median_filter(rgb_HW3.max(axis=2), size=3)
    lit_HW = level_HW > FIELD_LEVEL * max(float(np.percentile(level_HW, 95)), 0.05)
    labels_HW, num = ndimage.label(lit_HW)
    if not num:
        return lit_HW
    largest_HW = labels_HW == 1 + int(np.argmax(np.bincount(labels_HW.ravel())[1:]))
    return np.asarray(ndimage.binary_fill_holes(largest_HW), np.bool_)
