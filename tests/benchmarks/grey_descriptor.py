"""The other side of `altered_copies`: the descriptor that the trained encoder replaced, a grey image of 16 px.

Illumination is evened out by a masked Gaussian, the circle within the field of view counts, and vectors have unit
length. Halves are even and odd under mirroring, as `measures.nearest` reads them.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, minimum_filter

from synfundus.labels import FloatArray

GRID_PX, FIELD_RADIUS, DARK, LIGHT_SIGMA_PX = 16, 0.46, 10.0, 3.0


def _blur(images_BHW: FloatArray) -> FloatArray:
    return np.asarray(gaussian_filter(images_BHW, (0, LIGHT_SIGMA_PX, LIGHT_SIGMA_PX), mode="constant"), np.float32)


def grey_descriptor(images_BHWC: NDArray[np.uint8]) -> FloatArray:
    """Return unit vectors, float32 (B, D), of uint8 images of any size."""
    place = (np.arange(GRID_PX) - (GRID_PX - 1) / 2) / GRID_PX
    inside_HW = place[:, None] ** 2 + place[None, :] ** 2 <= FIELD_RADIUS**2
    number_HW = np.cumsum(inside_HW).reshape(inside_HW.shape) - 1
    left_HW = inside_HW & (place < 0)[None, :]
    left, right = number_HW[left_HW], number_HW[:, ::-1][left_HW]
    size = (GRID_PX, GRID_PX)
    grey_BHW = np.stack(
        [
            np.asarray(Image.fromarray(image).convert("L").resize(size, Image.Resampling.BOX), np.float32)
            for image in images_BHWC
        ]
    )
    lit_BHW = minimum_filter((grey_BHW > DARK) & inside_HW, (1, 3, 3)).astype(np.float32)
    light_BHW = _blur(grey_BHW * lit_BHW) / np.maximum(_blur(lit_BHW), 1e-3)
    detail_BD = ((grey_BHW - light_BHW) * lit_BHW)[:, inside_HW]
    norm_B1 = np.linalg.norm(detail_BD, axis=1, keepdims=True)
    detail_BD = np.where(norm_B1 > 1.0, detail_BD / np.maximum(norm_B1, 1e-6), 0.0)
    even, odd = detail_BD[:, left] + detail_BD[:, right], detail_BD[:, left] - detail_BD[:, right]
    return np.asarray(np.concatenate([even, odd], axis=1) * 0.5**0.5, np.float32)
