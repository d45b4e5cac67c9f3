"""Registered comparison of two photographs, which decides whether they are the same photograph.

Scale and shift between the two 128 x 128 green channels (`Prepared.twin_HW`) are estimated: first by correlation of the
vessel pattern by FFT over a range of scales, then by Gauss-Newton (Lucas and Kanade 1981). Two measures decide:

- the correlation of the vessel patterns: whether both show the same eye;
- the residual of the grey levels, after smoothing and any change of brightness and contrast: whether both are the same
  exposure, because the light falls differently on each exposure.

Measurements behind the limits: `docs/preparation.md`.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

from synfundus.fundus.preprocess import TWIN_PX, ByteImage
from synfundus.fundus.structure import CENTRE, MIN_LIT_PX, FloatImage, lit_field, local_structure

SAME_EYE = 0.6
"""Smallest correlation of registered vessel patterns of one eye. Different eyes reach at most 0.46 among the 838 real
photographs, copies at least 0.65."""
SAME_EXPOSURE_LEVELS = 1.6
"""Largest residual of one photograph, in grey levels of 255. Copies leave at most 1.4, and 0.75 for 99 % of them;
another photograph of the same eye leaves at least 2.1."""

SCALES = tuple(np.arange(0.92, 1.0801, 0.02))
MAX_SHIFT_PX = 10
FFT_PX = 160
"""Size of the transform, at least TWIN_PX + 2 MAX_SHIFT_PX, so that a circular correlation does not wrap within the
searched shifts."""
_Y_HW, _X_HW = np.mgrid[:TWIN_PX, :TWIN_PX] - CENTRE


@dataclass(frozen=True)
class Pattern:
    """One image as the comparison reads it."""

    grey_HW: FloatImage
    """Green channel, smoothed by less than a pixel."""
    lit_HW: NDArray[np.bool_]
    """The field of view, eroded."""
    vessels_HW: FloatImage
    """Locally normalised fine structure, 0 outside the field."""


@dataclass(frozen=True)
class Likeness:
    """Result of the registered comparison of two images."""

    vessels: float
    """Correlation of the registered vessel patterns, -1 to 1."""
    residual_levels: float
    """Standard deviation of the residual, in grey levels of 255."""

    @property
    def same_eye(self) -> bool:
        return self.vessels >= SAME_EYE

    @property
    def same_photograph(self) -> bool:
        return self.same_eye and self.residual_levels <= SAME_EXPOSURE_LEVELS

    @property
    def only_same_eye(self) -> bool:
        """True for another photograph of the same eye."""
        return self.same_eye and not self.same_photograph


def pattern(twin_HW: ByteImage) -> Pattern:
    """Return the pattern of an image's `twin_HW`."""
    grey_HW, lit_HW = lit_field(twin_HW)
    fine_HW = np.asarray(ndimage.gaussian_filter(grey_HW, 0.8), np.float32)
    return Pattern(fine_HW, lit_HW, local_structure(grey_HW, lit_HW, 0.8, 4.0))


@dataclass(frozen=True)
class _Placement:
    """Map from a point of one image to the other: centre + scale * (point - centre) + shift, in pixels."""

    scale: float
    y_px: float
    x_px: float

    def apply(self, image_HW: FloatImage) -> FloatImage:
        offset = CENTRE * (1 - self.scale)
        moved = ndimage.affine_transform(
            image_HW, np.array([self.scale, self.scale]), (offset + self.y_px, offset + self.x_px), order=1
        )
        return np.asarray(moved, np.float32)


def _coarse_placement(one: Pattern, other: Pattern) -> _Placement:
    """Return the best scale of `SCALES` and whole-pixel shift, by correlation of the vessel patterns."""
    spectrum = np.conj(scipy.fft.rfft2(one.vessels_HW, (FFT_PX, FFT_PX)))
    best, placement = -np.inf, _Placement(1, 0, 0)
    reach = np.arange(-MAX_SHIFT_PX, MAX_SHIFT_PX + 1)
    for scale in SCALES:
        scaled_HW = _Placement(scale, 0, 0).apply(other.vessels_HW)
        correlation = scipy.fft.irfft2(spectrum * scipy.fft.rfft2(scaled_HW, (FFT_PX, FFT_PX)), (FFT_PX, FFT_PX))
        near = correlation[np.ix_(reach, reach)] / (np.linalg.norm(scaled_HW) + 1e-6)
        y, x = np.unravel_index(near.argmax(), near.shape)
        if near[y, x] > best:
            best = near[y, x]
            placement = _Placement(scale, float(reach[y]) * scale, float(reach[x]) * scale)
    return placement


def _refine(one: Pattern, other: Pattern, start: _Placement, max_steps: int = 8) -> _Placement:
    """Improve scale and shift by Gauss-Newton on the vessel patterns, with a free gain and offset."""
    target_HW, moving_HW = (np.asarray(ndimage.gaussian_filter(p.vessels_HW, 1.0)) for p in (one, other))
    placement = start
    for _ in range(max_steps):
        moved_HW = placement.apply(moving_HW)
        both_HW = one.lit_HW & (placement.apply(other.lit_HW.astype(np.float32)) > 0.99)
        if both_HW.sum() < MIN_LIT_PX:
            return start
        dy_HW, dx_HW = (gradient / placement.scale for gradient in np.gradient(moved_HW))
        slopes = np.stack([dy_HW * _Y_HW + dx_HW * _X_HW, dy_HW, dx_HW, moved_HW, np.ones_like(moved_HW)], axis=-1)
        step = np.linalg.lstsq(slopes[both_HW], target_HW[both_HW], rcond=None)[0]
        gain = max(float(step[3]), 0.2)
        scale, y_px, x_px = np.clip(step[:3] / gain, (-0.02, -1, -1), (0.02, 1, 1))
        placement = _Placement(placement.scale + scale, placement.y_px + y_px, placement.x_px + x_px)
        if abs(scale) * TWIN_PX / 2 + abs(y_px) + abs(x_px) < 0.02:
            break
    return placement


def _correlation(a: FloatImage, b: FloatImage) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-9))


def _residual_levels(one_HW: FloatImage, other_HW: FloatImage, both_HW: NDArray[np.bool_]) -> float:
    """Return the standard deviation of the smoothed residual of a quadratic tone curve from one image to the other.

    Smoothing averages out the noise of coding, but not a difference of light. Clipped pixels and their neighbours are
    ignored. The levels are those of the image with the larger contrast, so that a dark copy cannot hide a difference.
    """
    clipped_HW = ndimage.binary_dilation((one_HW >= 250) | (other_HW >= 250), iterations=3)
    both_HW = both_HW & ~clipped_HW
    if both_HW.sum() < MIN_LIT_PX:
        return np.inf
    if one_HW[both_HW].std() < other_HW[both_HW].std():
        one_HW, other_HW = other_HW, one_HW
    tone = np.polynomial.Polynomial.fit(other_HW[both_HW], one_HW[both_HW], 2)
    residual_HW = np.where(both_HW, one_HW - tone(other_HW), 0.0)
    weight_HW = ndimage.gaussian_filter(both_HW.astype(np.float32), 3.0) + 1e-6
    return float((ndimage.gaussian_filter(residual_HW, 3.0) / weight_HW)[both_HW].std())


def compare_patterns(one: Pattern, other: Pattern) -> Likeness:
    """Register `other` to `one` and compare them."""
    if min(one.lit_HW.sum(), other.lit_HW.sum()) < MIN_LIT_PX:
        return Likeness(0.0, np.inf)
    placement = _refine(one, other, _coarse_placement(one, other))
    both_HW = one.lit_HW & (placement.apply(other.lit_HW.astype(np.float32)) > 0.99)
    both_HW = ndimage.binary_erosion(both_HW, iterations=2)
    if both_HW.sum() < MIN_LIT_PX:
        return Likeness(0.0, np.inf)
    vessels = _correlation(one.vessels_HW[both_HW], placement.apply(other.vessels_HW)[both_HW])
    return Likeness(vessels, _residual_levels(one.grey_HW, placement.apply(other.grey_HW), both_HW))
