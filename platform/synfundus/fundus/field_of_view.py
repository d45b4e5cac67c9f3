"""Find the field of view of a photograph: the lit disc on the dark surround.

The window is the smallest square around the disc. Many cameras cut the disc at top and bottom, so the window may reach
beyond the frame. A light mat around the photograph, and a light bar that touches the disc, do not belong to the field.
A frame without a dark surround is taken whole.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from synfundus.fundus.discs import Box, Region, box_of, field_in, fills_box
from synfundus.fundus.mats import outside_mat
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
MIN_MATTED_FRACTION = 0.2
"""Smallest fraction of the frame that a photograph within a mat covers."""
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
    box = _field_box(np.asarray(small))
    if box is None:
        return whole
    left, top, right, bottom = box
    side = max(right - left, bottom - top)
    window = Window((left + right - side) / 2 * factor, (top + bottom - side) / 2 * factor, side * factor)
    slack = SNAP_FRACTION * whole.side
    near = max(abs(window.left - whole.left), abs(window.top - whole.top), abs(window.side - whole.side)) <= slack
    return whole if near else window


def _whole(width: int, height: int) -> Window:
    side = max(width, height)
    return Window((width - side) / 2, (height - side) / 2, side)


def _field_box(pixels_HWC: NDArray[np.uint8]) -> Box | None:
    """Return the box around the field of view; None if there is no surround.

    Raises:
        ImageRejectedError: the frame has no field of view.
    """
    # The brightest channel: the darkest retina is bright in red, and the surround is dark in all three channels.
    level_HW = ndimage.median_filter(pixels_HWC.max(axis=2), size=3, mode="nearest")
    low, high = np.percentile(level_HW, (1, 99))
    if high - low < FLAT_LEVELS:
        raise _no_field(f"blank frame: grey levels {low:.0f} to {high:.0f}")
    within_mat = _photograph_in_mat(pixels_HWC)
    if within_mat is not None:
        return _box_in_mat(pixels_HWC, within_mat)
    dark = _surround_level(level_HW)
    if dark is None:
        return None
    return _field_among(level_HW > dark + max(8.0, 0.08 * (high - dark)))


def _photograph_in_mat(pixels_HWC: NDArray[np.uint8]) -> Region | None:
    """Return the largest region within a light mat if it is a disc or a rectangle; None if there is no mat."""
    outside_HW = outside_mat(pixels_HWC)
    if outside_HW is None:
        return None
    regions = _regions_by_area(outside_HW, MIN_MATTED_FRACTION)
    field_HW = field_in(regions[0]) if regions else None
    return None if field_HW is None or box_of(field_HW) == (0, 0, *reversed(outside_HW.shape)) else field_HW


def _box_in_mat(pixels_HWC: NDArray[np.uint8], field_HW: Region) -> Box:
    """Return the box around the field of a photograph in a mat: a disc, or a rectangle with a surround of its own."""
    left, top, right, bottom = box_of(field_HW)
    if not fills_box(field_HW):
        return left, top, right, bottom
    left, top, right, bottom = left + 1, top + 1, right - 1, bottom - 1  # reducing blends the edge with the mat
    inner = _field_box(pixels_HWC[top:bottom, left:right])
    if inner is None:
        return left, top, right, bottom
    return left + inner[0], top + inner[1], left + inner[2], top + inner[3]


def _surround_level(level_HW: NDArray[np.uint8]) -> float | None:
    """Return the grey level of the dark surround from the four corners of the frame; None if there is no surround.

    Two dark corners are enough: text, a notch or a flare may light the others.
    """
    height, width = level_HW.shape
    y, x = max(1, round(0.03 * height)), max(1, round(0.03 * width))
    corners = (level_HW[:y, :x], level_HW[:y, -x:], level_HW[-y:, :x], level_HW[-y:, -x:])
    second_darkest = sorted(float(np.median(corner)) for corner in corners)[1]
    return second_darkest if second_darkest <= DARK_LEVEL else None


def _field_among(lit_HW: Region) -> Box:
    """Return the box around the largest lit region that has the shape of a field of view.

    Raises:
        ImageRejectedError: no region is large enough, or none has the shape.
    """
    regions = _regions_by_area(lit_HW, MIN_FIELD_FRACTION)
    if not regions:
        raise _no_field("no lit region on the dark frame")
    for region_HW in regions:
        field_HW = field_in(region_HW)
        if field_HW is not None:
            filled_HW = ndimage.binary_fill_holes(field_HW)
            assert filled_HW is not None
            return box_of(filled_HW)
    raise _no_field("the lit region is no disc; crop the photograph to its field of view")


def _regions_by_area(mask_HW: Region, min_fraction: float) -> list[Region]:
    """Return the connected regions that cover at least a fraction of the frame, the largest first."""
    labels_HW, _ = ndimage.label(mask_HW)
    areas = np.bincount(labels_HW.ravel())[1:]
    largest_first = np.argsort(-areas, kind="stable")
    return [labels_HW == 1 + i for i in largest_first if areas[i] >= min_fraction * mask_HW.size]


def _no_field(detail: str) -> ImageRejectedError:
    return ImageRejectedError(ImageRejectionReason.NO_FIELD_OF_VIEW, detail)
