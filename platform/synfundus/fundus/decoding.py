"""Decode an original safely into its first frame: RGB, 8 bits per channel, without metadata.

A colour profile (ICC) is ignored: few cameras embed one, and a mixture of converted and raw colours is worse than raw
ones. Of an animation or a multi-page file the first frame is decoded. Transparent pixels are blended with black.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageFile, WebPImagePlugin

from synfundus.fundus.depth import colour_to_8_bits, grey_to_8_bits, is_deep_colour, is_deep_grey
from synfundus.fundus.held_bytes import MAX_HELD_BYTES, held_bytes
from synfundus.fundus.orientation import remaining_orientation
from synfundus.fundus.png_chunks import without_unused_chunks
from synfundus.fundus.rejections import ImageRejectedError, ImageRejectionReason
from synfundus.fundus.signatures import require_decodable
from synfundus.fundus.transparency import blended_with_black, is_transparent, keep_premultiplied

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "PPM")
"""Formats that are decoded. Formats whose decoders start programs (EPS) or read other files are not among them."""
Image.init()  # `Image.open(formats=…)` uses only plugins that are loaded


@dataclass(frozen=True)
class Original:
    """An encoded photograph whose header has been read."""

    data: bytes
    """The file, without parts that decoding does not need."""
    width: int
    """Width in pixels, as stored."""
    held_bytes: int
    """Upper bound of the bytes held while it is prepared, besides `data`."""


@dataclass(frozen=True)
class Frame:
    """The decoded first frame of an original, as stored: not turned upright, which would need a second image."""

    image: Image.Image
    """RGB, 8 bits per channel."""
    scale: float
    """Width of one of its pixels in pixels of the original."""
    orientation: int
    """EXIF orientation, 1 to 8."""


def open_original(data: bytes, max_megapixels: float) -> Original:
    """Read the header of a photograph.

    Raises:
        ImageRejectedError: the bytes are no image that is decoded, or decoding them takes too much memory.
    """
    require_decodable(data)
    with _rejections(data):
        if data.startswith(b"\x89PNG"):
            data = without_unused_chunks(data)
        with _open(data) as image:
            size = f"{image.width} x {image.height} pixels"
            if image.width * image.height > max_megapixels * 1e6:
                detail = f"{size}; at most {max_megapixels:g} megapixels are decoded"
                raise ImageRejectedError(ImageRejectionReason.DECOMPRESSION_BOMB, detail)
            num_bytes = held_bytes(image)
            if num_bytes > MAX_HELD_BYTES:
                detail = (
                    f"decoding {size} of {image.format} ({image.mode}) takes up to {num_bytes / 2**20:.0f} MiB;"
                    f" at most {MAX_HELD_BYTES / 2**20:.0f} MiB are held"
                )
                raise ImageRejectedError(ImageRejectionReason.DECOMPRESSION_BOMB, detail)
            return Original(data, image.width, num_bytes)


def decode_frame(original: Original, short_side_px: int | None) -> Frame:
    """Return the first frame.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if its shorter side stays at least `short_side_px`.

    Raises:
        ImageRejectedError: the bytes cannot be decoded.
    """
    with _rejections(original.data):
        image, orientation = _load(original.data, short_side_px)
        return Frame(image, original.width / image.width, orientation)


def _open(data: bytes) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _load(data: bytes, short_side_px: int | None) -> tuple[Image.Image, int]:
    """Return the first frame as RGB, and its orientation."""
    with _open(data) as image:
        if short_side_px is not None:
            image.draft(None, (short_side_px, short_side_px))
        premultiplied = keep_premultiplied(image)
        if is_deep_colour(image):
            loaded: Image.Image = colour_to_8_bits(lambda: _open(data))
        elif isinstance(image, WebPImagePlugin.WebPImageFile):
            loaded = _load_webp(image)
        else:
            image.load()
            loaded = image
        orientation = remaining_orientation(loaded if isinstance(loaded, ImageFile.ImageFile) else image)
    return _as_rgb(loaded, premultiplied=premultiplied), orientation


def _load_webp(image: WebPImagePlugin.WebPImageFile) -> Image.Image:
    """Return the first frame, RGBX or RGBA. Pillow's own loader would hold a fourth image beside libwebp's three."""
    decoded = image._decoder.get_next()
    if decoded is None:
        raise ValueError("truncated WebP")
    image._decoder = None  # frees libwebp's canvases
    return Image.frombuffer(image.rawmode, image.size, decoded[0], "raw", image.rawmode, 0, 1)


@contextmanager
def _rejections(data: bytes) -> Iterator[None]:
    """Turn any exception of a decoder in the body into a rejection; decoders raise any exception on hostile bytes."""
    try:
        yield
    except ImageRejectedError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRejectedError(ImageRejectionReason.DECOMPRESSION_BOMB, str(error)) from error
    except Exception as error:
        truncated = "truncat" in str(error).lower() or _lacks_end(data)
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        detail = "header cannot be read" if "BytesIO" in detail else detail
        reason = ImageRejectionReason.TRUNCATED if truncated else ImageRejectionReason.UNREADABLE
        raise ImageRejectedError(reason, detail) from error


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


def _as_rgb(image: Image.Image, *, premultiplied: bool) -> Image.Image:
    """Convert to RGB with 8 bits per channel. Floating-point pixels are refused: their range is unknown."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if is_deep_grey(image):
        return grey_to_8_bits(image)
    if premultiplied:
        return (image.getchannel(0) if image.mode == "La" else image).convert("RGB")
    if is_transparent(image):
        return blended_with_black(image)
    return image if image.mode == "RGB" else image.convert("RGB")
