"""Decode an original safely into its first frame: upright, RGB, 8 bits per channel, without metadata.

The EXIF orientation is applied. A colour profile (ICC) is ignored: few cameras embed one, and a mixture of converted
and raw colours is worse than raw ones. Of an animation or a multi-page file the first frame is decoded. Transparent
pixels are blended with black.
"""

import io

import numpy as np
from PIL import Image

from synfundus.fundus.rejections import ImageRejectedError, ImageRejectionReason

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "PPM")
"""Formats that are decoded. Formats whose decoders start programs (EPS) or read other files are not among them."""
Image.init()  # `Image.open(formats=…)` uses only plugins that are loaded
SIGNATURES = (
    b"\xff\xd8\xff",
    b"\x89PNG",
    b"II*\x00",
    b"MM\x00*",
    b"BM",
    b"RIFF",
    b"GIF8",
    b"\x00\x00\x00\x0cjP",
    b"\xff\x4f\xff\x51",
)


def decode_frame(data: bytes, short_side_px: int | None, max_megapixels: float) -> tuple[Image.Image, float]:
    """Return the first frame, and the width of one of its pixels in pixels of the original.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if its shorter side stays at least `short_side_px`.

    Raises:
        ImageRejectedError: the bytes cannot be decoded or are too large.
    """
    if not data.startswith(SIGNATURES) and not (data[:1] == b"P" and data[1:2].isdigit()):
        raise ImageRejectedError(
            ImageRejectionReason.NOT_AN_IMAGE, "not an image format that is read" if data else "empty file"
        )
    try:
        return _decode(data, short_side_px, max_megapixels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRejectedError(ImageRejectionReason.DECOMPRESSION_BOMB, str(error)) from error
    except ImageRejectedError:
        raise
    except Exception as error:  # decoders raise any exception on hostile bytes
        truncated = "truncat" in str(error).lower() or _lacks_end(data)
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        detail = "header cannot be read" if "BytesIO" in detail else detail
        reason = ImageRejectionReason.TRUNCATED if truncated else ImageRejectionReason.UNREADABLE
        raise ImageRejectedError(reason, detail) from error


def _decode(data: bytes, short_side_px: int | None, max_megapixels: float) -> tuple[Image.Image, float]:
    if data.startswith(b"\x89PNG"):
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.verify()  # compares checksums, which decoding ignores; other formats have none
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        if width * height > max_megapixels * 1e6:
            detail = f"{width} x {height} pixels; at most {max_megapixels:g} megapixels are decoded"
            raise ImageRejectedError(ImageRejectionReason.DECOMPRESSION_BOMB, detail)
        orientation = _orientation(image)
        if short_side_px is not None:
            image.draft(None, (short_side_px, short_side_px))
        image.load()
        frame = _as_rgb(image)
        return _upright(frame, orientation), width / frame.width


def _lacks_end(data: bytes) -> bool:
    """Return whether a file of a known format lacks its end."""
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-4096:]
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-4096:]
    if data.startswith(b"RIFF"):
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    if data.startswith(b"BM"):
        return len(data) < int.from_bytes(data[2:6], "little")
    return data.startswith(b"GIF8") and not data.endswith(b";")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8. A photograph with broken EXIF counts as upright instead of unreadable."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:
        return 1


_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(frame: Image.Image, orientation: int) -> Image.Image:
    return frame.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else frame


def _as_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB with 8 bits per channel.

    Deeper grey is scaled by the smallest usual depth (8, 10, 12, 14, 16 bits) that holds its largest value, because
    cameras store 12 bits in 16 without a mark. Floating-point pixels are refused: their range is unknown.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):
        deep = np.asarray(image)
        if deep.min() < 0 or deep.max() > 0xFFFF:
            raise ValueError("pixel values outside 16 bits")
        largest = next(1 << bits for bits in (8, 10, 12, 14, 16) if deep.max() < 1 << bits) - 1
        grey_levels = np.rint(np.arange(largest + 1) * (255.0 / largest)).astype(np.uint8)
        return Image.fromarray(grey_levels[deep]).convert("RGB")  # a table needs one byte per pixel, floats need four
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        colour = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, (0, 0, 0, 255)), colour).convert("RGB")
    return image.convert("RGB")
