"""Tiny originals that are rendered when they are read. A module of its own, because Ray's workers import it by name.

They are not phantoms but discs with a random texture: quick to render, and no two are alike. This module is a helper,
not a benchmark.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from synfundus.fundus.png import encode_png
from synfundus.fundus.sources import SourceListing, SourceRecord
from synfundus.labels import LABEL_NAMES, LabelRow

SIDE_PX = 32
TEXTURE_PX = 12
IMAGES_PER_PATIENT = 2


@dataclass(frozen=True, slots=True)
class TinyImage:
    """Reference to one tiny original."""

    seed: int

    def load(self) -> bytes:
        """Return the original as PNG."""
        rng = np.random.default_rng(self.seed)
        texture = Image.fromarray(rng.integers(60, 250, (TEXTURE_PX, TEXTURE_PX, 3), np.uint8))
        pixels_HWC = np.asarray(texture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC))
        line = np.arange(SIDE_PX) - (SIDE_PX - 1) / 2
        inside_HW = line[:, None] ** 2 + line[None, :] ** 2 <= (SIDE_PX / 2) ** 2
        return encode_png(np.where(inside_HW[:, :, None], pixels_HWC, 0).astype(np.uint8))


def _labels(rng: np.random.Generator) -> LabelRow:
    """Return random values of side, grade and three flags; the other labels are unknown."""
    known = {"dr_grade": int(rng.integers(0, 5)), "eye_side": int(rng.integers(0, 2)), "is_fundus": 1}
    flags = {name: int(rng.integers(0, 2)) for name in ("is_amd", "is_gc", "is_macular_readable")}
    return {**dict.fromkeys(LABEL_NAMES), **known, **flags}


def tiny_listing(num_images: int) -> SourceListing:
    """Return a source of tiny originals, two per patient."""
    rng = np.random.default_rng(0)
    records = [
        SourceRecord(f"tiny/{i:07d}", TinyImage(i), _labels(rng), f"patient-{i // IMAGES_PER_PATIENT}")
        for i in range(num_images)
    ]
    return SourceListing(records, rows_without_image=[], images_without_row=[], has_patients=True)
