"""The descriptor that finds copies of training photographs, and the search for the nearest one.

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
BLOCK_NUMBERS = 2**20
"""Largest number of distances in memory at once, in about four copies."""


@dataclass(frozen=True)
class Nearest:
    """The nearest reference of each of N images."""

    distance: NDArray[np.float64]
    """(N,) in [0, 2], rounded to six decimals, so that rounding on another CPU changes no decision."""
    index: NDArray[np.int64]
    """(N,) row of the reference."""
    mirrored: NDArray[np.bool_]
    """(N,): the reference is nearest when mirrored."""


@dataclass(frozen=True)
class SampledCounts:
    """Samples that the stage `sample` made and compared with every training image."""

    num_sampled: int
    """Samples over all attempts, accepted or not."""
    num_near: int
    """Samples among them that were rejected because they lie nearer to a training image than the threshold."""


@lru_cache(maxsize=1)
def _circle() -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return the circle (H, W), and the position of each of its pixels in the mirrored image."""
    place = (np.arange(GRID_PX) - (GRID_PX - 1) / 2) / GRID_PX
    inside_HW = place[:, None] ** 2 + place[None, :] ** 2 <= FIELD_RADIUS**2
    number_HW = np.cumsum(inside_HW).reshape(inside_HW.shape) - 1
    return inside_HW, number_HW[:, ::-1][inside_HW]


def _blur(images_BHW: FloatArray) -> FloatArray:
    return np.asarray(gaussian_filter(images_BHW, (0, LIGHT_SIGMA_PX, LIGHT_SIGMA_PX), mode="constant"), np.float32)


def copy_descriptor(images_BHWC: NDArray[np.uint8]) -> FloatArray:
    """Return unit vectors, float32 (B, D), of uint8 images of any size; a zero vector for an image without contrast."""
    inside_HW, _ = _circle()
    grey_BHW = np.zeros((len(images_BHWC), GRID_PX, GRID_PX), np.float32)
    for b, image_HWC in enumerate(images_BHWC):
        small = Image.fromarray(image_HWC).convert("L").resize((GRID_PX, GRID_PX), Image.Resampling.BOX)
        grey_BHW[b] = np.asarray(small, np.float32)
    # Leave the rim of the lit area out: it would outweigh everything that distinguishes two photographs.
    lit_BHW = minimum_filter((grey_BHW > DARK) & inside_HW, (1, 3, 3)).astype(np.float32)
    light_BHW = _blur(grey_BHW * lit_BHW) / np.maximum(_blur(lit_BHW), 1e-3)
    detail_BD = ((grey_BHW - light_BHW) * lit_BHW)[:, inside_HW]
    norm_B1 = np.linalg.norm(detail_BD, axis=1, keepdims=True)
    return np.where(norm_B1 > 1.0, detail_BD / np.maximum(norm_B1, 1e-6), 0.0).astype(np.float32)


def nearest(queries_MD: FloatArray, reference_ND: FloatArray) -> Nearest:
    """Return the nearest reference of each query, among at least one reference as it is and mirrored."""
    _, mirror_D = _circle()
    found = Nearest(np.empty(len(queries_MD)), np.empty(len(queries_MD), np.int64), np.empty(len(queries_MD), np.bool_))
    reference = np.asarray(reference_ND, np.float32)
    norm_N = np.einsum("nd,nd->n", reference, reference)
    block = max(1, BLOCK_NUMBERS // len(reference))
    for start in range(0, len(queries_MD), block):
        part = np.asarray(queries_MD[start : start + block], np.float32)
        rows = slice(start, start + len(part))
        # Mirroring the query equals mirroring the reference, and saves a second copy of the references.
        squared_2PN = np.stack([norm_N - 2.0 * (query @ reference.T) for query in (part, part[:, mirror_D])])
        either_PN = squared_2PN.min(axis=0)
        found.index[rows] = either_PN.argmin(axis=1)
        picked_2P = squared_2PN[:, np.arange(len(part)), found.index[rows]]
        found.mirrored[rows] = picked_2P[1] < picked_2P[0]
        found.distance[rows] = _distance(part, reference[found.index[rows]], found.mirrored[rows])
    return found


def _distance(query_PD: FloatArray, reference_PD: FloatArray, mirrored_P: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the distance of each pair, without the cancellation that the sum of squares has for near pairs."""
    _, mirror_D = _circle()
    turned_PD = np.where(mirrored_P[:, None], query_PD[:, mirror_D], query_PD).astype(np.float64)
    return np.asarray(np.round(np.linalg.norm(turned_PD - reference_PD, axis=1), 6))


def held_out_threshold(distances: NDArray[np.float64], quantile: float) -> float:
    """Return the distance below which a sample is too near: the `quantile` of held-out photographs' distances."""
    return round(float(np.quantile(distances, quantile)), 6)
