"""Find a light mat: the flat, nearly grey margin of a report page or of a cut-out, around a photograph."""

import numpy as np
from numpy.typing import NDArray

MIN_LEVEL = 100
"""Smallest value (of 255) that the brightest channel of a mat has."""
FLAT_TOLERANCE = 8
"""Largest difference of a channel (of 255) from the colour of a mat in 90 % of the pixels of a corner."""
GREY_TOLERANCE = 40
"""Largest difference between the channels of a mat. Retina is redder."""
CONTENT_TOLERANCE = 24
"""Difference of a channel from the colour of a mat at which a pixel belongs to the photograph."""


def outside_mat(pixels_HWC: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """Return where an image differs from its mat, (H, W); None if no three corners have the same flat colour."""
    colours = [colour for corner in _corners(pixels_HWC) if (colour := _flat_colour(corner)) is not None]
    if len(colours) < 3 or np.ptp(colours, axis=0).max() > FLAT_TOLERANCE:
        return None
    difference_HWC = np.abs(pixels_HWC.astype(np.int16) - np.median(colours, axis=0).astype(np.int16))
    outside_HW: NDArray[np.bool_] = difference_HWC.max(axis=2) >= CONTENT_TOLERANCE
    return outside_HW


def _corners(pixels_HWC: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return the pixels of the border within 3 % of each corner, (N, 3). A mat may be one pixel thin."""
    height, width = pixels_HWC.shape[:2]
    y, x = max(1, round(0.03 * height)), max(1, round(0.03 * width))
    return [
        np.concatenate([line[:x] if end == 0 else line[-x:], column[:y] if row == 0 else column[-y:]])
        for row, line in ((0, pixels_HWC[0]), (-1, pixels_HWC[-1]))
        for end, column in ((0, pixels_HWC[:, 0]), (-1, pixels_HWC[:, -1]))
    ]


def _flat_colour(corner_NC: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Return the median colour of a corner if it is flat, light and nearly grey."""
    pixels_NC = corner_NC.astype(np.float64)
    colour = np.median(pixels_NC, axis=0)
    is_flat = np.mean(np.abs(pixels_NC - colour).max(axis=1) <= FLAT_TOLERANCE) >= 0.9
    return colour if is_flat and colour.max() >= MIN_LEVEL and np.ptp(colour) <= GREY_TOLERANCE else None
