"""Perceptual codes of photographs, which propose pairs that may be the same photograph.

A code has 256 bits: the signs of the locally normalised band of vessels and larger structures at 256 points of the
128 x 128 green channel (`Prepared.twin_HW`). A crop moves and magnifies the window, so each image has one code for each
of its `VIEWS` (moved and shrunk sampling points). Pairs within `CODE_RADIUS` bits are candidates, which
`likeness.compare_patterns` accepts or refuses. Photographs of different people look alike, so no code may decide: among
838 real ones, 154 have a neighbour within 4 of 64 bits of a usual perceptual hash.

Measurements behind the limits: `docs/preparation.md`.
"""

import numpy as np
from numpy.typing import NDArray

from synfundus.fundus.preprocess import TWIN_PX, ByteImage
from synfundus.fundus.structure import CENTRE, MIN_LIT_PX, lit_field, local_structure

Codes = NDArray[np.uint64]
"""(..., 4): 256 bits."""

CODE_BITS = 256
CODE_WORDS = CODE_BITS // 64
CODE_RADIUS = 48
"""Largest number of differing bits of a candidate. 8,379 of 8,380 copies lie within it; of the 350,703 pairs of the 838
real photographs 2 do, and both show one eye."""
FIRST_WORD_RADIUS = 23
"""Largest number of differing bits among the first 64 of a candidate: 3.5 standard deviations above the mean of a pair
at `CODE_RADIUS` whose differing bits are spread by chance."""
TILE = 4096
"""First codes that `candidates` compares at once."""


def _views() -> tuple[tuple[float, float, float], ...]:
    """Return scale, vertical and horizontal shift (fractions of the side) of sampling points; the first is unmoved.

    A crop of up to 6 % magnifies by at most 6 % and moves the centre by at most 3 %.
    """
    moved = [(1.0, y, x) for y, x in ((0.0, 0.02), (0.0, -0.02), (0.02, 0.0), (-0.02, 0.0))]
    magnified = [(0.94, y, x) for y in (-0.03, 0.0, 0.03) for x in (-0.03, 0.0, 0.03)]
    return ((1.0, 0.0, 0.0), *moved, *magnified)


def _sampling_points() -> NDArray[np.float64]:
    """Return (256, 2) points around the centre: a 20 x 20 grid without corners, top and bottom, which cameras cut."""
    line = (np.arange(20) + 0.5) * TWIN_PX / 20 - TWIN_PX / 2
    grid = np.array([(y, x) for y in line for x in line if abs(y) < 0.375 * TWIN_PX])
    nearest = grid[np.argsort(np.hypot(grid[:, 0], grid[:, 1]), kind="stable")[:CODE_BITS]]
    # Each 64-bit word samples the whole field, so the first word alone is a fair sample.
    return np.concatenate([nearest[word::CODE_WORDS] for word in range(CODE_WORDS)])


VIEWS = _views()
_POINTS = _sampling_points()


def codes(twin_HW: ByteImage) -> Codes | None:
    """Return (14, 4): the image's code in each of `VIEWS`, or None if too few pixels are lit."""
    grey_HW, lit_HW = lit_field(twin_HW)
    if lit_HW.sum() < MIN_LIT_PX:
        return None
    # Half the resolution holds the band of the code, at a seventh of the time.
    half_HW = grey_HW.reshape(TWIN_PX // 2, 2, TWIN_PX // 2, 2).mean(axis=(1, 3))
    structure_HW = local_structure(half_HW, lit_HW[::2, ::2] & lit_HW[1::2, 1::2], 1.0, 3.0)
    bits = []
    for scale, y, x in VIEWS:
        points = np.rint((_POINTS * scale + np.array([y, x]) * TWIN_PX + CENTRE) / 2 - 0.25).astype(np.int64)
        points = points.clip(0, TWIN_PX // 2 - 1)
        bits.append(structure_HW[points[:, 0], points[:, 1]] > 0)
    return np.packbits(np.stack(bits), axis=1).view(np.uint64)


def candidates(codes_QVW: Codes, unmoved_NW: Codes) -> NDArray[np.int64]:
    """Return the pairs (q, n), as rows, for which a view of image q lies within `CODE_RADIUS` of image n's first code.

    The cost is Q x 14 x N comparisons of 64 bits, most of which end at the first word; memory is 8 bytes x `TILE` x V.
    """
    pairs: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(unmoved_NW), TILE):
        tile_NW = unmoved_NW[start : start + TILE]
        for q, views_VW in enumerate(codes_QVW):
            first_VN = np.bitwise_count(views_VW[:, :1] ^ tile_NW[:, 0])
            view, n = np.divmod(np.flatnonzero(first_VN <= FIRST_WORD_RADIUS), len(tile_NW))
            distance = np.bitwise_count(views_VW[view] ^ tile_NW[n]).sum(axis=1, dtype=np.int64)
            near = np.unique(n[distance <= CODE_RADIUS]) + start
            pairs.append(np.stack([np.full(len(near), q), near], axis=1))
    return np.concatenate(pairs)
