"""Optic disc and cup.

The disc is searched as a bright blob of the right size at which vertical vessels meet (Mahfouz & Fahmy 2010, doi
10.1109/TIP.2010.2052280). Its edge is the circle across which the level falls most (the integro-differential operator
of Daugman 1993, doi 10.1109/34.244676). The cup is the brighter part of the disc. A grey closing first removes vessels.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synfundus.evaluation.anatomy.canvas import FINE_PX, RADIUS_PX, SIDE_PX, Canvas
from synfundus.evaluation.anatomy.vessels import NUM_ANGLES
from synfundus.labels import FloatArray

BLOB_PX = (7.0, 9.0, 11.0, 13.0)
"""Radii of the blobs that are searched: 0.11 to 0.20 of the field's radius."""
SURROUND = 1.7
"""Outer radius of the ring with which a blob is compared, in radii of the blob."""
MEETING_PX = 14.0
"""Radius within which vertical vessels count as meeting at the disc."""
VESSEL_WEIGHT = 1.0
"""Weight of the vessels beside that of brightness, both in standard deviations over the field."""
MAX_HEIGHT = 0.55
"""Largest distance of the disc from the horizontal midline, in field radii."""
MIN_CONTRAST = 0.04
"""Smallest contrast of a blob, relative to the background, that is a disc."""
RADII_PX = np.arange(5.0, 17.0, 0.5)
"""Radii of the disc that are tried: 0.08 to 0.26 of the field's radius."""
SHIFTS_PX = np.arange(-5.0, 6.0)
WITHIN_DISC = 0.9
"""Radius within which the cup is searched, in radii of the disc: its edge is blurred."""
MIN_CUP_CONTRAST = 0.03
"""Smallest range of levels within the disc, relative to their mean, that can be a cup and a rim."""
FINE_CLOSING_PX = 9
"""As `CLOSING_PX`, at `FINE_PX`."""
CLOSING_PX, OPENING_PX = 7, 7
"""Vessels thinner than this are filled with the level beside them, and bright spots smaller than this are removed."""
NUM_RAYS = 32


@dataclass(frozen=True)
class Disc:
    """Optic disc of one image, in pixels of the canvas."""

    x: float
    y: float
    radius: float


@lru_cache(maxsize=1)
def _blob_spectra() -> NDArray[np.complex64]:
    """Return the spectra of kernels: mean of a disc minus mean of the ring around it."""
    place = np.arange(SIDE_PX) - SIDE_PX // 2
    distance_HW = np.hypot(*np.meshgrid(place, place))
    kernels = []
    for radius in BLOB_PX:
        disc_HW = np.clip(radius + 0.5 - distance_HW, 0.0, 1.0)
        ring_HW = np.clip(SURROUND * radius + 0.5 - distance_HW, 0.0, 1.0) * (distance_HW > radius + 1.0)
        kernels.append(disc_HW / disc_HW.sum() - ring_HW / ring_HW.sum())
    return np.fft.rfft2(np.fft.ifftshift(np.stack(kernels), axes=(1, 2))).astype(np.complex64)


@lru_cache(maxsize=1)
def _meeting_spectrum() -> NDArray[np.complex64]:
    """Return the spectrum of the mean over a disc of `MEETING_PX`."""
    place = np.arange(SIDE_PX) - SIDE_PX // 2
    disc_HW = (np.hypot(*np.meshgrid(place, place)) <= MEETING_PX).astype(np.float64)
    return np.fft.rfft2(np.fft.ifftshift(disc_HW / disc_HW.sum())).astype(np.complex64)


def _filtered(level_HW: FloatArray, spectra: NDArray[np.complex64]) -> FloatArray:
    out = np.fft.irfft2(np.fft.rfft2(level_HW) * spectra, s=(SIDE_PX, SIDE_PX))
    return np.asarray(out, np.float32)


def find_disc(canvas: Canvas, contrast_AHW: FloatArray) -> Disc | None:
    """Return the optic disc; None if no blob of its size stands out.

    Args:
        contrast_AHW: contrast of lines (`line_contrasts`).
    """
    if canvas.inner_HW.sum() < 0.2 * SIDE_PX**2:
        return None
    level_HW = without_vessels(canvas.rgb_HW3[:, :, :2].mean(axis=2))
    without_spots_HW = ndimage.grey_opening(level_HW, size=(OPENING_PX, OPENING_PX))
    blob_HW = _filtered(canvas.evened(without_spots_HW) - 1.0, _blob_spectra()).max(axis=0)
    meeting_HW = _filtered(_verticality(contrast_AHW), _meeting_spectrum())
    score_HW = _standardised(blob_HW, canvas) + VESSEL_WEIGHT * _standardised(meeting_HW, canvas)
    place_N = np.arange(SIDE_PX) - (SIDE_PX - 1) / 2
    searched_HW = canvas.inner_HW & (np.abs(place_N) < MAX_HEIGHT * RADIUS_PX)[:, None]
    y, x = np.unravel_index(int(np.argmax(np.where(searched_HW, score_HW, -np.inf))), score_HW.shape)
    if blob_HW[y, x] < MIN_CONTRAST:
        return None
    return _edge_of_disc(level_HW, float(x), float(y))


def _verticality(contrast_AHW: FloatArray) -> FloatArray:
    """Return how much darker the vertical lines are than the horizontal ones; round spots have no direction."""
    vertical = np.abs(np.arange(NUM_ANGLES) - NUM_ANGLES // 2) <= NUM_ANGLES // 6
    difference_HW = contrast_AHW[vertical].max(axis=0) - contrast_AHW[~vertical].max(axis=0)
    return np.asarray(np.maximum(difference_HW, 0.0), np.float32)


def without_vessels(level_HW: FloatArray) -> FloatArray:
    """Return a level in which thin dark lines are filled, slightly smoothed."""
    closed_HW = ndimage.grey_closing(level_HW, size=(CLOSING_PX, CLOSING_PX))
    return np.asarray(ndimage.gaussian_filter(closed_HW, 1.0), np.float32)


def _standardised(score_HW: FloatArray, canvas: Canvas) -> FloatArray:
    inside_N = score_HW[canvas.inner_HW]
    return np.asarray((score_HW - inside_N.mean()) / max(float(inside_N.std()), 1e-6), np.float32)


def _ring_means(level_HW: FloatArray, x_K: FloatArray, y_K: FloatArray, radii_R: FloatArray) -> FloatArray:
    """Return the mean level on circles about K centres with R radii, (K, R)."""
    angle_T = np.linspace(0.0, 2.0 * np.pi, NUM_RAYS, endpoint=False)
    x_KRT = x_K[:, None, None] + radii_R[:, None] * np.cos(angle_T)
    y_KRT = y_K[:, None, None] + radii_R[:, None] * np.sin(angle_T)
    found = ndimage.map_coordinates(level_HW, np.stack([y_KRT.ravel(), x_KRT.ravel()]), order=1, mode="nearest")
    return np.asarray(found.reshape(x_KRT.shape).mean(axis=2), np.float32)


def _steepest(level_HW: FloatArray, x_K: FloatArray, y_K: FloatArray, radii_R: FloatArray) -> tuple[int, float]:
    """Return centre number and radius of the circle across which the level falls most, in all its circumference.

    The fall is summed along the circle, not averaged, because the edge of a pale cup can be steeper than that of the
    disc.
    """
    fall_KR = -np.gradient(_ring_means(level_HW, x_K, y_K, radii_R), radii_R, axis=1) * radii_R
    fall_KR = ndimage.gaussian_filter1d(fall_KR, 1.0, axis=1)
    k, r = np.unravel_index(int(np.argmax(fall_KR)), fall_KR.shape)
    return int(k), float(radii_R[r])


def _edge_of_disc(level_HW: FloatArray, x: float, y: float) -> Disc:
    dx, dy = (shift.ravel().astype(np.float32) for shift in np.meshgrid(SHIFTS_PX, SHIFTS_PX))
    k, radius = _steepest(level_HW, x + dx, y + dy, RADII_PX.astype(np.float32))
    return Disc(x + float(dx[k]), y + float(dy[k]), radius)


def cup_to_disc(canvas: Canvas, disc: Disc) -> float | None:
    """Return the square root of the area of the cup over that of the disc; None if the disc has one level.

    The cup is the part of the disc above Otsu's threshold (1979, doi 10.1109/TSMC.1979.4310076) of the mean of green
    and blue, in which the cup stands out most from the rim. It is measured at `FINE_PX`.
    """
    scale = FINE_PX / SIDE_PX
    x, y, radius = (disc.x + 0.5) * scale - 0.5, (disc.y + 0.5) * scale - 0.5, disc.radius * scale
    left, top = (max(0, int(centre - 1.3 * radius)) for centre in (x, y))
    crop_HW3 = canvas.fine_HW3[top : int(y + 1.3 * radius) + 2, left : int(x + 1.3 * radius) + 2]
    level_HW = ndimage.grey_closing(crop_HW3[:, :, 1:].mean(axis=2), size=(FINE_CLOSING_PX, FINE_CLOSING_PX))
    row_HW, column_HW = np.indices(level_HW.shape)
    within_HW = np.hypot(column_HW + left - x, row_HW + top - y) <= WITHIN_DISC * radius
    level_N = np.sort(level_HW[within_HW])
    if len(level_N) < 2 or level_N[-1] - level_N[0] < MIN_CUP_CONTRAST * float(level_N.mean()):
        return None
    return float(np.sqrt((level_N > _otsu_threshold(level_N)).sum() / (np.pi * radius**2)))


def _otsu_threshold(ascending_N: FloatArray) -> float:
    """Return the largest value of the lower of two classes, chosen for the largest variance between them."""
    n = len(ascending_N)
    size_K, total_K = np.arange(1, n), np.cumsum(ascending_N, dtype=np.float64)
    below_K, above_K = total_K[:-1] / size_K, (total_K[-1] - total_K[:-1]) / (n - size_K)
    return float(ascending_N[int(np.argmax(size_K * (n - size_K) * (above_K - below_K) ** 2))])
