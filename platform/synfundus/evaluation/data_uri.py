"""Images as data URIs, so that the report is one file."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SMALL_IMAGE_PX, LARGEST_IMAGE_PX = 128, 256
WEBP_QUALITY = 90


def data_uri(kind: str, data: bytes) -> str:
    """Return data of a MIME type as a URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def image_uri(pixels_HWC: NDArray[np.uint8]) -> str:
    """Return one image as a data URI: a small one as it is (PNG), else at most 256 px (WebP)."""
    image, sink = Image.fromarray(pixels_HWC), io.BytesIO()
    if max(image.size) <= SMALL_IMAGE_PX:
        image.save(sink, "PNG", optimize=True)
        return data_uri("image/png", sink.getvalue())
    image.thumbnail((LARGEST_IMAGE_PX, LARGEST_IMAGE_PX), Image.Resampling.LANCZOS)
    image.save(sink, "WEBP", quality=WEBP_QUALITY, method=4)
    return data_uri("image/webp", sink.getvalue())
