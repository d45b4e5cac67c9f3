"""Originals as cameras write them, made from phantoms: a lit disc on a dark, wider frame."""

import io
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_record

FRAME = (480, 320)
DISC_PX = 300
LEFT, TOP = 110, 10


@cache
def disc(index: int) -> Image.Image:
    """Return a phantom of a readable fundus, 300 px; equal indices give equal eyes."""
    config = PhantomConfig(num_images=1000, size_px=DISC_PX, seed=5)
    found = 0
    for position in range(config.num_images):
        record = phantom_record(config, position)
        if record.labels["is_fundus"] == 1 and record.labels["is_retinal_region_readable"] == 1:
            if found == index:
                return Image.fromarray(record.image_HWC)
            found += 1
    raise AssertionError("not enough readable phantoms")


def photograph(index: int = 0) -> Image.Image:
    """Return RGB 480 x 320 with a field of view of 300 px beside the centre, and sensor noise in the dark."""
    noise = np.random.default_rng(index).integers(0, 6, (FRAME[1], FRAME[0], 3), dtype=np.uint8)
    frame = Image.fromarray(noise)
    frame.paste(disc(index), (LEFT, TOP))
    return frame


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, image_format, **options)
    return sink.getvalue()


def cropped(image: Image.Image, fraction: float, anchor_x: float, anchor_y: float) -> Image.Image:
    """Cut off `fraction` of width and height; anchor 0 cuts at the right or bottom, 1 at the left or top."""
    dx, dy = image.width * fraction, image.height * fraction
    box = (dx * anchor_x, dy * anchor_y, image.width - dx * (1 - anchor_x), image.height - dy * (1 - anchor_y))
    return image.crop(tuple(round(v) for v in box))  # type: ignore[arg-type]


def max_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    return int(np.abs(a.astype(np.int64) - b).max())
