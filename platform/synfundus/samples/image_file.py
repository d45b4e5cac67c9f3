"""Image files of samples, each marked as synthetic in its own metadata."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from synfundus.samples.config import ImageFormat

EXIF_IMAGE_DESCRIPTION = 0x010E


def encode_image(pixels_HWC: NDArray[np.uint8], image_format: ImageFormat, *, seed: int, model: str) -> bytes:
    """Return an image file that carries the mark "synthetic", its seed and its model as text.

    PNG and WebP are lossless; JPEG has quality 95.

    Args:
        seed: seed of the sample's noise.
        model: digest of the generator.
    """
    marks = {"Synthetic": "yes", "Software": "SynFundus", "Seed": str(seed), "Model": model}
    image, sink = Image.fromarray(pixels_HWC), io.BytesIO()
    if image_format == "png":
        info = PngInfo()
        for key, text in marks.items():
            info.add_text(key, text)
        image.save(sink, "PNG", pnginfo=info, compress_level=6)
        return sink.getvalue()
    exif = Image.Exif()
    exif[EXIF_IMAGE_DESCRIPTION] = "; ".join(f"{key}: {text}" for key, text in marks.items())
    options: dict[str, Any] = {"lossless": True} if image_format == "webp" else {"quality": 95, "subsampling": 0}
    image.save(sink, image_format.upper(), exif=exif, **options)
    return sink.getvalue()
