"""The descriptor that finds copies of training photographs; `measures.nearest` searches the nearest one.

It finds copies that were mirrored, brightened or encoded again, too. The descriptor is a small grey image whose
illumination is evened out, so that vessels, disc and lesions count and exposure does not. The distance of two unit
vectors is sqrt(2 - 2 correlation): 0 for a copy, 1.41 for images that have nothing in common. Carlini et al. 2023
(arXiv 2301.13188, section 4.1) use pixel distance to find memorised training images. The descriptor finds copies; it
does not prove that no person can be recognised.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, minimum_filter

from synfundus.labels import FloatArray

GRID_PX = 16
"""Side of the small image. A larger one separates distinct photographs better, but misses copies moved by a pixel."""
FIELD_RADIUS = 0.46
"""Radius of the circle that counts, as a share of the side; the rim outside it is alike in all photographs."""
DARK = 10.0
"""Grey level (0 to 255) up to which a pixel lies outside the field of view, which cameras cut at top and bottom."""
LIGHT_SIGMA_PX = 3.0
"""Sigma, in pixels of the small image, of the blur that estimates the illumination."""
COPY_SPACE = f"grey images of {GRID_PX} px within the field of view, illumination evened out, also mirrored"


@dataclass(frozen=True)
class SampledCounts:
    """Samples that the stage `sample` made and compared with every training image."""

    num_sampled: int
    """Samples over all attempts, accepted or not."""
    num_near: int
    """Samples among them that were rejected because they lie nearer to a training image than the threshold."""


@lru_cache(maxsize=1)
def _circle() -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Return the circle (H, W); rows of its left half's pixels, and of their mirror images, among the circle's."""
    place = (np.arange(GRID_PX) - (GRID_PX - 1) / 2) / GRID_PX
    inside_HW = place[:, None] ** 2 + place[None, :] ** 2 <= FIELD_RADIUS**2
    number_HW = np.cumsum(inside_HW).reshape(inside_HW.shape) - 1
    left_HW = inside_HW & (place < 0)[None, :]
    return inside_HW, number_HW[left_HW], number_HW[:, ::-1][left_HW]


def _fold(detail_BD: FloatArray) -> FloatArray:
    """Return vectors of the same length whose first half is even under mirroring and whose second half is odd.

    The side `GRID_PX` is even, so each pixel of the circle has a mirror image other than itself.
    """
    _, left, right = _circle()
    even, odd = detail_BD[:, left] + detail_BD[:, right], detail_BD[:, left] - detail_BD[:, right]
    return np.asarray(np.concatenate([even, odd], axis=1) * np.float32(0.5**0.5), np.float32)


def _blur(images_BHW: FloatArray) -> FloatArray:
    return np.asarray(gaussian_filter(images_BHW, (0, LIGHT_SIGMA_PX, LIGHT_SIGMA_PX), mode="constant"), np.float32)


def copy_descriptor(images_BHWC: NDArray[np.uint8]) -> FloatArray:
    """Return unit vectors, float32 (B, D), of uint8 images of any size; a zero vector for an image without contrast.

    The first D / 2 numbers stay as they are when the image is mirrored; the others change their sign.
    """
    inside_HW, _, _ = _circle()
    grey_BHW = np.zeros((len(images_BHWC), GRID_PX, GRID_PX), np.float32)
    for b, image_HWC in enumerate(images_BHWC):
        small = Image.fromarray(image_HWC).convert("L").resize((GRID_PX, GRID_PX), Image.Resampling.BOX)
        grey_BHW[b] = np.asarray(small, np.float32)
    # Leave the rim of the lit area out: it would outweigh everything that distinguishes two photographs.
    lit_BHW = minimum_filter((grey_BHW > DARK) & inside_HW, (1, 3, 3)).astype(np.float32)
    light_BHW = _blur(grey_BHW * lit_BHW) / np.maximum(_blur(lit_BHW), 1e-3)
    detail_BD = ((grey_BHW - light_BHW) * lit_BHW)[:, inside_HW]
    norm_B1 = np.linalg.norm(detail_BD, axis=1, keepdims=True)
    return _fold(np.where(norm_B1 > 1.0, detail_BD / np.maximum(norm_B1, 1e-6), 0.0).astype(np.float32))


def held_out_threshold(distances: NDArray[np.float64], quantile: float) -> float:
    """Return the distance below which a sample is too near: the `quantile` of held-out photographs' distances."""
    return round(float(np.quantile(distances, quantile)), 6)
