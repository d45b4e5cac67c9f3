"""Find the field of view of a photograph: the lit disc on the dark surround.

The window is the smallest square around the disc. Many cameras cut the disc at top and bottom, so the window may reach
beyond the frame. A frame without a dark surround is taken whole.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from synfundus.fundus.rejections import ImageRejectedError, ImageRejectionReason

DETECTION_PX = 320
"""Largest longer side at which the field of view is searched. The frame is reduced by a whole factor, so its longer
side is at least half of this, and an edge is found within 0.6 %."""
DARK_LEVEL = 60
"""Brightest grey level (of 255) of a corner that counts as dark surround."""
FLAT_LEVELS = 12
"""Smallest span of grey levels (of 255) of a frame that is not blank."""
MIN_FIELD_FRACTION = 0.02
"""Smallest fraction of the frame that a field of view covers."""
SNAP_FRACTION = 0.015
"""Difference, as a fraction of the side, up to which a window is replaced by the (squared) frame. So preparing
a prepared image again changes nothing."""


@dataclass(frozen=True)
class Window:
    """A square in pixels of a frame. It may reach beyond the frame."""

    left: float
    top: float
    side: float


def find_window(frame: Image.Image, is_fundus: bool) -> Window:
    """Return the square around the field of view, or around the whole frame if the image is labelled `is_fundus` 0.

    Raises:
        ImageRejectedError: the frame has no field of view.
    """
    whole = _whole(*frame.size)
    if not is_fundus:
        return whole
    factor = math.ceil(max(frame.size) / DETECTION_PX)
    small = frame.reduce(factor) if factor > 1 else frame
    # The brightest channel: the darkest retina is bright in red, and the surround is dark in all three channels.
    level_HW = ndimage.median_filter(np.asarray(small).max(axis=2), size=3, mode="nearest")
    low, high = np.percentile(level_HW, (1, 99))
    if high - low < FLAT_LEVELS:
        raise ImageRejectedError(
            ImageRejectionReason.NO_FIELD_OF_VIEW, f"blank frame: grey levels {low:.0f} to {high:.0f}", frame
        )
    dark = _surround_level(level_HW)
    if dark is None:
        return whole
    left, top, right, bottom = _lit_box(level_HW > dark + max(8.0, 0.08 * (high - dark)), frame)
    side = max(right - left, bottom - top)
    window = Window((left + right - side) / 2 * factor, (top + bottom - side) / 2 * factor, side * factor)
    slack = SNAP_FRACTION * whole.side
    near = max(abs(window.left - whole.left), abs(window.top - whole.top), abs(window.side - whole.side)) <= slack
    return whole if near else window


def _whole(width: int, height: int) -> Window:
    side = max(width, height)
    return Window((width - side) / 2, (height - side) / 2, side)


def _surround_level(level_HW: NDArray[np.uint8]) -> float | None:
    """Return the grey level of the dark surround from the four corners of the frame; None if there is no surround.

    Two dark corners are enough: text, a notch or a flare may light the others.
    """
    height, width = level_HW.shape
    y, x = max(1, round(0.03 * height)), max(1, round(0.03 * width))
    corners = (level_HW[:y, :x], level_HW[:y, -x:], level_HW[-y:, :x], level_HW[-y:, -x:])
    second_darkest = sorted(float(np.median(corner)) for corner in corners)[1]
    return second_darkest if second_darkest <= DARK_LEVEL else None


def _lit_box(lit_HW: NDArray[np.bool_], frame: Image.Image) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the largest lit region, without thin protrusions (text, flares)."""
    regions_HW, number = ndimage.label(lit_HW)
    areas = np.bincount(regions_HW.ravel())[1:]
    if number == 0 or areas.max() < MIN_FIELD_FRACTION * lit_HW.size:
        raise ImageRejectedError(ImageRejectionReason.NO_FIELD_OF_VIEW, "no lit region on the dark frame", frame)
    region_HW = ndimage.binary_fill_holes(regions_HW == 1 + areas.argmax())
    assert region_HW is not None
    # A column of a disc of radius r whose height is 6 % of the largest lies 0.2 % of r inside the edge.
    columns, rows = region_HW.sum(axis=0), region_HW.sum(axis=1)
    wide, high = (np.flatnonzero(counts >= 0.06 * counts.max()) for counts in (columns, rows))
    return int(wide[0]), int(high[0]), int(wide[-1]) + 1, int(high[-1]) + 1
