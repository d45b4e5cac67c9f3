"""Field of view and vessel structure of a grey image, from which both steps of the search for duplicates start."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synfundus.fundus.preprocess import TWIN_PX, ByteImage

FloatImage = NDArray[np.float32]

MIN_LIT_PX = 1000
"""Smallest number of lit pixels (of 16,384) that can be compared."""
CENTRE = (TWIN_PX - 1) / 2
"""Coordinate of the centre of the image in pixels, on both axes."""


def lit_field(twin_HW: ByteImage) -> tuple[FloatImage, NDArray[np.bool_]]:
    """Return the grey levels and the eroded field of view."""
    grey_HW = twin_HW.astype(np.float32)
    lit_HW = ndimage.gaussian_filter(grey_HW, 0.8) > max(6.0, 0.12 * float(np.percentile(grey_HW, 99)))
    lit_HW = ndimage.binary_erosion(ndimage.binary_opening(lit_HW, iterations=2), iterations=2)
    return grey_HW, lit_HW


def local_structure(grey_HW: FloatImage, lit_HW: NDArray[np.bool_], fine_px: float, coarse_px: float) -> FloatImage:
    """Return the band between two Gaussians, divided by its local standard deviation; both are taken over the field."""
    weight_HW = lit_HW.astype(np.float32)

    def smooth(image_HW: FloatImage, sigma_px: float) -> FloatImage:
        above = ndimage.gaussian_filter(image_HW * weight_HW, sigma_px)
        return np.asarray(above / (ndimage.gaussian_filter(weight_HW, sigma_px) + 1e-3), np.float32)

    band_HW = (smooth(grey_HW, fine_px) - smooth(grey_HW, coarse_px)) * weight_HW
    spread_HW = np.sqrt(smooth(band_HW**2, 2 * coarse_px) + 0.25)  # half a grey level is noise
    return np.asarray(np.clip(band_HW / spread_HW, -3, 3) * weight_HW, np.float32)
