"""Encode pixels as PNG."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encode_png(pixels_HWC: NDArray[np.uint8]) -> bytes:
    """Return a PNG without metadata; equal pixels give equal bytes."""
    sink = io.BytesIO()
    Image.fromarray(pixels_HWC).save(sink, "PNG", compress_level=4)
    return sink.getvalue()
