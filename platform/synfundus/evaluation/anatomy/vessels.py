"""Vessels by the line detector of Ricci & Perfetti 2007 (doi 10.1109/TMI.2007.898551).

A pixel lies on a vessel if the darkest of 12 lines through it is darker than the square around it. The contrast is
relative to the background, so exposure and pigmentation cancel.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synfundus.evaluation.anatomy.canvas import RADIUS_PX, SIDE_PX, Canvas
from synfundus.labels import FloatArray

NUM_ANGLES = 12
LINE_PX, SQUARE_PX = 9, 11
"""Length of the lines and side of the square."""
WEAK, STRONG = 0.05, 0.10
"""Contrast of a line from which on a pixel may be a vessel, and from which on it is one."""
CLOSING_PX = 7
"""Dark structures narrower than this are vessels: three times the width of a large one."""
MIN_LENGTH_PX = round(0.25 * RADIUS_PX)
"""Smallest extent of a vessel; shorter dark regions are haemorrhages or noise."""


@lru_cache(maxsize=1)
def _line_spectra() -> NDArray[np.complex64]:
    """Return the spectra (NUM_ANGLES, SIDE, SIDE // 2 + 1) of kernels: mean along a line minus mean of the square."""
    place = np.arange(SIDE_PX) - SIDE_PX // 2
    y_HW, x_HW = np.meshgrid(place, place, indexing="ij")
    square_HW = (np.maximum(np.abs(x_HW), np.abs(y_HW)) <= SQUARE_PX // 2).astype(np.float64)
    kernels = []
    for angle in np.arange(NUM_ANGLES) * np.pi / NUM_ANGLES:
        along_HW = x_HW * np.cos(angle) + y_HW * np.sin(angle)
        across_HW = -x_HW * np.sin(angle) + y_HW * np.cos(angle)
        line_HW = np.clip(1.0 - np.abs(across_HW), 0.0, 1.0) * (np.abs(along_HW) <= LINE_PX / 2)
        kernels.append(line_HW / line_HW.sum() - square_HW / square_HW.sum())
    centred = np.fft.ifftshift(np.stack(kernels), axes=(1, 2))
    return np.fft.rfft2(centred).astype(np.complex64)


def line_contrasts(canvas: Canvas) -> FloatArray:
    """Return how much darker each line is than the square around it, (NUM_ANGLES, SIDE, SIDE), relative to 1.

    The angle of line a is a * 180 / NUM_ANGLES degrees; 0 is horizontal.
    """
    level_HW = canvas.evened(canvas.rgb_HW3[:, :, 1])
    # The closing fills what is dark and thin, so bright lesions and the macula have no contrast.
    dark_HW = ndimage.grey_closing(level_HW, size=(CLOSING_PX, CLOSING_PX)) - level_HW
    # The kernels are symmetric, so the product of spectra is a correlation, too.
    contrast = np.fft.irfft2(np.fft.rfft2(dark_HW)[None] * _line_spectra(), s=(SIDE_PX, SIDE_PX))
    return np.where(canvas.inner_HW, contrast, 0.0).astype(np.float32)


def vessel_mask(contrast_AHW: FloatArray) -> NDArray[np.bool_]:
    """Return the vessels: connected regions above `WEAK` that reach `STRONG` and are long enough."""
    darkest_HW = contrast_AHW.max(axis=0)
    labels_HW, num = ndimage.label(darkest_HW > WEAK, structure=np.ones((3, 3)))
    accepted = np.zeros(num + 1, np.bool_)
    peaks = np.asarray(ndimage.maximum(darkest_HW, labels_HW, np.arange(1, num + 1))) if num else np.zeros(0)
    for number, box in enumerate(ndimage.find_objects(labels_HW), start=1):
        extent = max(side.stop - side.start for side in box)
        accepted[number] = extent >= MIN_LENGTH_PX and peaks[number - 1] > STRONG
    return np.asarray(accepted[labels_HW], np.bool_)
