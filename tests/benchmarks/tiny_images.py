"""Tiny originals that are drawn when they are read, each of them different; in a module that Ray's workers can import.

No benchmark itself. They are no phantoms: a lit disc with a random texture is drawn fast, and no two of them are alike.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from synfundus.fundus.preprocess import encode_png
from synfundus.fundus.sources import SourceListing, SourceRecord
from synfundus.labels import LABEL_NAMES, LabelRow

SIDE_PX = 32
TEXTURE_PX = 12
IMAGES_PER_PATIENT = 2


@dataclass(frozen=True, slots=True)
class TinyImage:
    """One of them."""

    seed: int

    def load(self) -> bytes:
        rng = np.random.default_rng(self.seed)
        texture = Image.fromarray(rng.integers(60, 250, (TEXTURE_PX, TEXTURE_PX, 3), np.uint8))
        pixels_HWC = np.asarray(texture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC))
        line = np.arange(SIDE_PX) - (SIDE_PX - 1) / 2
        inside_HW = line[:, None] ** 2 + line[None, :] ** 2 <= (SIDE_PX / 2) ** 2
        return encode_png(np.where(inside_HW[:, :, None], pixels_HWC, 0).astype(np.uint8))


def _labels(rng: np.random.Generator) -> LabelRow:
    """Side, grade and three flags as they come, the rest unknown."""
    known = {"dr_grade": int(rng.integers(0, 5)), "eye_side": int(rng.integers(0, 2)), "is_fundus": 1}
    flags = {name: int(rng.integers(0, 2)) for name in ("is_amd", "is_gc", "is_macular_readable")}
    return {**dict.fromkeys(LABEL_NAMES), **known, **flags}


def tiny_listing(num_images: int) -> SourceListing:
    rng = np.random.default_rng(0)
    records = [
        SourceRecord(f"tiny/{i:07d}", TinyImage(i), _labels(rng), f"patient-{i // IMAGES_PER_PATIENT}")
        for i in range(num_images)
    ]
    return SourceListing(records, rows_without_image=[], images_without_row=[], has_patients=True)
