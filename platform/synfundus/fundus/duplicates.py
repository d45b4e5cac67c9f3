"""The same photograph twice: proposed by a perceptual code, decided by a registered pixel comparison.

Fundus photographs of different people look alike, so that no hash may decide: among 838 real ones, 154 have a
neighbour within 4 of 64 bits of a usual perceptual hash. Two steps, both on the 128 x 128 green channel of the prepared
window (`Prepared.twin_HW`), where vessels have their contrast:

1. Code. 256 bits: the sign of the locally normalised band of vessels and larger, at 256 points. A crop moves and
   magnifies the window, so each image is also asked for with its `VIEWS` (moved and shrunk sampling points). Pairs
   within `CODE_RADIUS` bits are candidates.
2. Comparison. Scale and shift are estimated (correlation of the vessel pattern by FFT over a range of scales, then
   Gauss-Newton; Lucas and Kanade 1981). Then two figures: the correlation of the vessel patterns says whether it is
   the same eye, and what remains of the grey levels, after smoothing and after any change of brightness and contrast,
   says whether it is the same exposure: light falls differently on every other one.

Measured figures behind the limits: `docs/preparation.md`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

from synfundus.fundus.preprocess import TWIN_PX, ByteImage

FloatImage = NDArray[np.float32]
Codes = NDArray[np.uint64]
"""(..., 4): 256 bits."""

CODE_BITS = 256
CODE_RADIUS = 48
"""Largest number of differing bits of a candidate. 8,379 of 8,380 copies lie within it; of the 350,703 pairs of the 838
real photographs 2 do, and both show one eye."""
FIRST_WORD_RADIUS = 23
"""Pairs that differ in more of the first 64 bits are not looked at further: 3.5 standard deviations above the mean of a
pair at `CODE_RADIUS`, were its differing bits spread by chance."""
SAME_EYE = 0.6
"""Correlation of registered vessel patterns from which on two images show the same eye. Different eyes: at most 0.46
among the 838; copies: at least 0.65."""
SAME_EXPOSURE_LEVELS = 1.6
"""Remaining difference, in grey levels of 255, up to which they are the same photograph. Copies: at most 1.4, and 0.75
for 99 %; another photograph of the same eye: at least 2.1."""

SCALES = tuple(np.arange(0.92, 1.0801, 0.02))
MAX_SHIFT_PX = 10
FFT_PX = 160
"""At least TWIN_PX + 2 MAX_SHIFT_PX, so that a circular correlation does not wrap within the shifts looked at."""
MIN_LIT_PX = 1000
"""Fewer lit pixels than this (of 16,384) bear no comparison."""

CENTRE = (TWIN_PX - 1) / 2
_Y_HW, _X_HW = np.mgrid[:TWIN_PX, :TWIN_PX] - CENTRE


def _views() -> tuple[tuple[float, float, float], ...]:
    """Scale, vertical and horizontal shift (fractions of the side) of sampling points; the first is the plain one.

    A crop of up to 6 % magnifies by as much at most and moves the centre by half of it.
    """
    moved = [(1.0, y, x) for y, x in ((0.0, 0.02), (0.0, -0.02), (0.02, 0.0), (-0.02, 0.0))]
    magnified = [(0.94, y, x) for y in (-0.03, 0.0, 0.03) for x in (-0.03, 0.0, 0.03)]
    return ((1.0, 0.0, 0.0), *moved, *magnified)


def _sampling_points() -> NDArray[np.float64]:
    """(256, 2) points around the centre; a 20 x 20 grid without top and bottom, which many cameras cut, and corners."""
    line = (np.arange(20) + 0.5) * TWIN_PX / 20 - TWIN_PX / 2
    grid = np.array([(y, x) for y in line for x in line if abs(y) < 0.375 * TWIN_PX])
    nearest = grid[np.argsort(np.hypot(grid[:, 0], grid[:, 1]), kind="stable")[:CODE_BITS]]
    # Every 64-bit word sees the whole field, so that the first word alone is a fair sample.
    return np.concatenate([nearest[word::4] for word in range(4)])


VIEWS = _views()
_POINTS = _sampling_points()


@dataclass(frozen=True)
class Pattern:
    """What the comparison needs of one image."""

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
    """Standard deviation of what remains of the grey levels."""

    @property
    def same_eye(self) -> bool:
        return self.vessels >= SAME_EYE

    @property
    def same_photograph(self) -> bool:
        return self.same_eye and self.residual_levels <= SAME_EXPOSURE_LEVELS

    @property
    def only_same_eye(self) -> bool:
        """Another photograph of the same eye."""
        return self.same_eye and not self.same_photograph


def _local_structure(grey_HW: FloatImage, lit_HW: NDArray[np.bool_], fine_px: float, coarse_px: float) -> FloatImage:
    """The band between two Gaussians, divided by its local standard deviation; both see the field only."""
    weight_HW = lit_HW.astype(np.float32)

    def smooth(image_HW: FloatImage, sigma_px: float) -> FloatImage:
        above = ndimage.gaussian_filter(image_HW * weight_HW, sigma_px)
        return np.asarray(above / (ndimage.gaussian_filter(weight_HW, sigma_px) + 1e-3), np.float32)

    band_HW = (smooth(grey_HW, fine_px) - smooth(grey_HW, coarse_px)) * weight_HW
    spread_HW = np.sqrt(smooth(band_HW**2, 2 * coarse_px) + 0.25)  # half a grey level is noise
    return np.asarray(np.clip(band_HW / spread_HW, -3, 3) * weight_HW, np.float32)


def _field(twin_HW: ByteImage) -> tuple[FloatImage, NDArray[np.bool_]]:
    """Grey levels and the eroded field of view."""
    grey_HW = twin_HW.astype(np.float32)
    lit_HW = ndimage.gaussian_filter(grey_HW, 0.8) > max(6.0, 0.12 * float(np.percentile(grey_HW, 99)))
    lit_HW = ndimage.binary_erosion(ndimage.binary_opening(lit_HW, iterations=2), iterations=2)
    return grey_HW, lit_HW


def codes(twin_HW: ByteImage) -> Codes | None:
    """(14, 4): the image's code in each of `VIEWS`, the plain one first; None where too little is lit to tell."""
    grey_HW, lit_HW = _field(twin_HW)
    if lit_HW.sum() < MIN_LIT_PX:
        return None
    # Half the resolution holds the band of the code, at a seventh of the time.
    half_HW = grey_HW.reshape(TWIN_PX // 2, 2, TWIN_PX // 2, 2).mean(axis=(1, 3))
    structure_HW = _local_structure(half_HW, lit_HW[::2, ::2] & lit_HW[1::2, 1::2], 1.0, 3.0)
    bits = []
    for scale, y, x in VIEWS:
        points = np.rint((_POINTS * scale + np.array([y, x]) * TWIN_PX + CENTRE) / 2 - 0.25).astype(np.int64)
        points = points.clip(0, TWIN_PX // 2 - 1)
        bits.append(structure_HW[points[:, 0], points[:, 1]] > 0)
    return np.packbits(np.stack(bits), axis=1).view(np.uint64)


def candidates(asked_QVW: Codes, plain_NW: Codes, tile: int = 4096) -> NDArray[np.int64]:
    """Pairs (q, n), as rows, of which one view of image q lies within `CODE_RADIUS` of the plain code of image n.

    The cost is Q x 14 x N comparisons of 64 bits, most of which end at the first word; memory is 8 bytes x `tile` x V.
    """
    num_views = asked_QVW.shape[1]
    pairs: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(plain_NW), tile):
        part_NW = plain_NW[start : start + tile]
        for q, views_VW in enumerate(asked_QVW):
            first_VN = np.bitwise_count(views_VW[:, :1] ^ part_NW[:, 0])
            view, n = np.divmod(np.flatnonzero(first_VN <= FIRST_WORD_RADIUS), len(part_NW))
            distance = np.bitwise_count(views_VW[view] ^ part_NW[n]).sum(axis=1, dtype=np.int64)
            near = np.unique(n[distance <= CODE_RADIUS]) + start
            pairs.append(np.stack([np.full(len(near), q), near], axis=1))
    assert num_views == len(VIEWS)
    return np.concatenate(pairs)


def pattern(twin_HW: ByteImage) -> Pattern:
    grey_HW, lit_HW = _field(twin_HW)
    fine_HW = np.asarray(ndimage.gaussian_filter(grey_HW, 0.8), np.float32)
    return Pattern(fine_HW, lit_HW, _local_structure(grey_HW, lit_HW, 0.8, 4.0))


@dataclass(frozen=True)
class _Placement:
    """Where a point of one image lies in the other: centre + scale * (point - centre) + shift, in pixels."""

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
    """Best scale of `SCALES` and whole-pixel shift by correlation of the vessel patterns."""
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
    """Gauss-Newton on the vessel patterns for scale and shift, with a free gain and offset."""
    target_HW, moving_HW = (np.asarray(ndimage.gaussian_filter(p.vessels_HW, 1.0)) for p in (one, other))
    here = start
    for _ in range(max_steps):
        moved_HW = here.apply(moving_HW)
        both_HW = one.lit_HW & (here.apply(other.lit_HW.astype(np.float32)) > 0.99)
        if both_HW.sum() < MIN_LIT_PX:
            return start
        dy_HW, dx_HW = (gradient / here.scale for gradient in np.gradient(moved_HW))
        slopes = np.stack([dy_HW * _Y_HW + dx_HW * _X_HW, dy_HW, dx_HW, moved_HW, np.ones_like(moved_HW)], axis=-1)
        step = np.linalg.lstsq(slopes[both_HW], target_HW[both_HW], rcond=None)[0]
        gain = max(float(step[3]), 0.2)
        scale, y_px, x_px = np.clip(step[:3] / gain, (-0.02, -1, -1), (0.02, 1, 1))
        here = _Placement(here.scale + scale, here.y_px + y_px, here.x_px + x_px)
        if abs(scale) * TWIN_PX / 2 + abs(y_px) + abs(x_px) < 0.02:
            break
    return here


def _correlation(a: FloatImage, b: FloatImage) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-9))


def _residual_levels(one_HW: FloatImage, other_HW: FloatImage, both_HW: NDArray[np.bool_]) -> float:
    """What a quadratic tone curve from one to the other leaves, smoothed: noise of coding averages out, light does not.

    Clipped pixels and their neighbours are left out. The levels are those of the image of larger contrast, so that a
    dark copy cannot hide a difference.
    """
    clipped_HW = ndimage.binary_dilation((one_HW >= 250) | (other_HW >= 250), iterations=3)
    both_HW = both_HW & ~clipped_HW
    if both_HW.sum() < MIN_LIT_PX:
        return np.inf
    if one_HW[both_HW].std() < other_HW[both_HW].std():
        one_HW, other_HW = other_HW, one_HW
    tone = np.polynomial.Polynomial.fit(other_HW[both_HW], one_HW[both_HW], 2)
    left_HW = np.where(both_HW, one_HW - tone(other_HW), 0.0)
    weight_HW = ndimage.gaussian_filter(both_HW.astype(np.float32), 3.0) + 1e-6
    return float((ndimage.gaussian_filter(left_HW, 3.0) / weight_HW)[both_HW].std())


def compare(one: Pattern, other: Pattern) -> Likeness:
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


@dataclass(frozen=True)
class Entry:
    """What decides which of two copies stays."""

    name: str
    field_px: int
    num_known: int
    """Labels that an expert gave."""

    @property
    def rank(self) -> tuple[int, int, str]:
        """Smallest first: the larger field, then more known labels, then the name."""
        return (-self.field_px, -self.num_known, self.name)


def choose(entries: Mapping[int, Entry], copies: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Which images go, and for which.

    Args:
        copies: pairs of keys of `entries` that are the same photograph, in any order.

    Returns:
        key of a dropped image -> key of the kept one that it is a copy of. An image goes only if it is itself a copy
        of one that stays; so a chain of three whose ends differ keeps both ends.
    """
    neighbours: dict[int, set[int]] = {}
    for i, j in copies:
        neighbours.setdefault(i, set()).add(j)
        neighbours.setdefault(j, set()).add(i)
    dropped: dict[int, int] = {}
    kept: set[int] = set()
    for i in sorted(neighbours, key=lambda k: entries[k].rank):
        stays = [j for j in neighbours[i] if j in kept]
        if stays:
            dropped[i] = min(stays, key=lambda k: entries[k].rank)
        else:
            kept.add(i)
    return dropped
