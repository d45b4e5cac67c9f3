"""One original photograph in, one square prepared image out: decode safely, find the field of view, crop, pad, resize.

Pure functions of the bytes. All metadata is dropped: the EXIF orientation is applied first, a colour profile (ICC) is
ignored, since cameras that embed one are the exception and a mixture of converted and raw colours is worse than raw
ones. Of an animation or a multi-page file the first frame counts. Transparent pixels lie on black.

The field of view is the lit disc on the dark surround. The crop is the smallest square window around it, so that what
lies beyond the frame (many cameras cut the disc at top and bottom) becomes black. A frame without a dark surround, and
a picture that is labelled as no fundus, stays whole.
"""

import hashlib
import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from synfundus.fundus.config import MAX_MEGAPIXELS, PrepareConfig
from synfundus.fundus.rejections import ImageRejectionReason

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "PPM")
"""What is decoded; formats whose decoders start programs (EPS) or read other files are not."""
Image.init()  # `Image.open(formats=…)` knows only plugins that are loaded
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

DETECTION_PX = 320
"""Longer side, at most, at which the field of view is looked for; it is at least half of it (an edge within 0.6 %)."""
DARK_LEVEL = 60
"""Corners brighter than this (of 255) are no dark surround."""
FLAT_LEVELS = 12
"""A frame whose grey levels span less holds nothing."""
MIN_FIELD_FRACTION = 0.02
"""Part of the frame that a field of view covers at least."""
SNAP_FRACTION = 0.015
"""A window that differs from the (squared) frame by less is the frame: prepared images stay as they are."""
OVERSAMPLING = 2
"""Decoded pixels a prepared pixel that libjpeg leaves when it decodes at reduced size (a box average: antialiased)."""
TWIN_PX = 128
"""Side of the grey image from which duplicates are told."""

ByteImage = NDArray[np.uint8]


@dataclass(frozen=True)
class Prepared:
    """A prepared image."""

    pixels_HWC: ByteImage
    """(size_px, size_px, 3) RGB."""
    twin_HW: ByteImage
    """(128, 128) green channel of the same window, for `duplicates`."""
    field_px: int
    """Diameter of the field of view in pixels of the original."""


@dataclass(frozen=True)
class Rejected:
    """An image that cannot be prepared."""

    reason: ImageRejectionReason
    detail: str
    """One line for a person."""
    thumbnail: ByteImage | None = None
    """(H, W, 3), sides of at most 128, where it could be decoded."""


@dataclass(frozen=True)
class _Window:
    """A square in pixels of a frame; it may reach beyond the frame."""

    left: float
    top: float
    side: float


class _RejectedError(Exception):
    """Carries a verdict out of the steps of `prepare_image`."""

    def __init__(self, reason: ImageRejectionReason, detail: str, frame: Image.Image | None = None) -> None:
        super().__init__(detail)
        self.rejected = Rejected(reason, detail, None if frame is None else _thumbnail(frame))


def image_id(data: bytes) -> str:
    """Name of an image by its source bytes: the first 16 hex digits of their SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def prepare_image(
    data: bytes,
    size_px: int,
    *,
    min_field_px: int = 1,
    max_megapixels: float = MAX_MEGAPIXELS,
    is_fundus: bool = True,
) -> Prepared | Rejected:
    """Prepare one encoded image.

    Args:
        size_px: side of the result.
        min_field_px: smallest diameter of the field of view, in pixels of the original.
        max_megapixels: larger originals are taken for decompression bombs; at most 89.
        is_fundus: False for a picture labelled as no fundus: it has no field of view by right and stays whole.

    Returns:
        The image, or why there is none; the bytes of a stranger never raise.
    """
    try:
        frame, scale = _decode(data, OVERSAMPLING * max(size_px, TWIN_PX), max_megapixels)
        window = _find_window(frame, is_fundus)
        if scale > 1 and window.side < OVERSAMPLING * max(size_px, TWIN_PX):
            # The field fills a small part of the frame, so that the reduced decoding was too coarse for it.
            frame, scale = _decode(data, None, max_megapixels)
            window = _find_window(frame, is_fundus)
        field_px = round(window.side * scale)
        if field_px < min_field_px:
            raise _RejectedError(
                ImageRejectionReason.TOO_SMALL,
                f"field of view of {field_px} px; at least {min_field_px} px are asked for",
                frame,
            )
        pixels = np.asarray(_cut(frame, window, size_px))
        twin = pixels if size_px == TWIN_PX else np.asarray(_cut(frame, window, TWIN_PX))
    except _RejectedError as verdict:
        return verdict.rejected
    return Prepared(pixels, twin[:, :, 1].copy(), field_px)


def prepare_by(config: PrepareConfig, data: bytes, *, is_fundus: bool = True) -> Prepared | Rejected:
    """Prepare one encoded image with the settings of a study; equal bytes give equal pixels on every machine."""
    return prepare_image(
        data,
        config.size_px,
        min_field_px=config.smallest_field_px,
        max_megapixels=config.max_megapixels,
        is_fundus=is_fundus,
    )


def encode_png(pixels_HWC: ByteImage) -> bytes:
    """Lossless bytes without metadata; the same pixels give the same bytes."""
    sink = io.BytesIO()
    Image.fromarray(pixels_HWC).save(sink, "PNG", compress_level=4)
    return sink.getvalue()


def _decode(data: bytes, short_side_px: int | None, max_megapixels: float) -> tuple[Image.Image, float]:
    """The first frame, upright, RGB, and how many original pixels one of its pixels is wide.

    A JPEG is decoded at 1/2, 1/4 or 1/8 where its shorter side stays at least `short_side_px`.
    """
    if not data.startswith(SIGNATURES) and not (data[:1] == b"P" and data[1:2].isdigit()):
        raise _RejectedError(
            ImageRejectionReason.NOT_AN_IMAGE, "empty file" if not data else "not an image format that is read"
        )
    try:
        if data.startswith(b"\x89PNG"):
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                image.verify()  # checksums, which decoding ignores; other formats have none
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_megapixels * 1e6:
                detail = f"{width} x {height} pixels; at most {max_megapixels:g} megapixels are decoded"
                raise _RejectedError(ImageRejectionReason.DECOMPRESSION_BOMB, detail)
            orientation = _orientation(image)
            if short_side_px is not None:
                image.draft(None, (short_side_px, short_side_px))
            image.load()
            frame = _as_rgb(image)
            return _upright(frame, orientation), width / frame.width
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _RejectedError(ImageRejectionReason.DECOMPRESSION_BOMB, str(error)) from error
    except _RejectedError:
        raise
    except Exception as error:  # decoders raise whatever hostile bytes make them raise
        cut = "truncat" in str(error).lower() or _is_cut(data)
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        detail = "header cannot be read" if "BytesIO" in detail else detail
        raise _RejectedError(
            ImageRejectionReason.TRUNCATED if cut else ImageRejectionReason.UNREADABLE, detail
        ) from error


def _is_cut(data: bytes) -> bool:
    """Whether a file of a known format lacks its end."""
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
    """EXIF orientation 1-8. Broken EXIF is no reason to lose a photograph: it counts as upright."""
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
    """8 bits a channel, RGB.

    Deeper grey is scaled by the smallest usual depth (8, 10, 12, 14, 16 bits) that holds its largest value, because
    cameras store 12 bits in 16 without saying so. Floating-point pixels have no known range and are refused.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):
        deep = np.asarray(image)
        if deep.min() < 0 or deep.max() > 0xFFFF:
            raise ValueError("pixel values outside 16 bits")
        largest = next(1 << bits for bits in (8, 10, 12, 14, 16) if deep.max() < 1 << bits) - 1
        grey_levels = np.rint(np.arange(largest + 1) * (255.0 / largest)).astype(np.uint8)
        return Image.fromarray(grey_levels[deep]).convert("RGB")  # by a table: one byte a pixel, not floating point
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        colour = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, (0, 0, 0, 255)), colour).convert("RGB")
    return image.convert("RGB")


def _thumbnail(frame: Image.Image) -> ByteImage:
    small = frame.copy()
    small.thumbnail((TWIN_PX, TWIN_PX), Image.Resampling.BOX)
    return np.asarray(small)


def _whole(width: int, height: int) -> _Window:
    side = max(width, height)
    return _Window((width - side) / 2, (height - side) / 2, side)


def _find_window(frame: Image.Image, is_fundus: bool) -> _Window:
    """The square around the field of view."""
    whole = _whole(*frame.size)
    if not is_fundus:
        return whole
    factor = math.ceil(max(frame.size) / DETECTION_PX)
    small = frame.reduce(factor) if factor > 1 else frame
    # The brightest channel: red lights up in the darkest retina, and the surround is dark in all three.
    level_HW = ndimage.median_filter(np.asarray(small).max(axis=2), size=3, mode="nearest")
    low, high = np.percentile(level_HW, (1, 99))
    if high - low < FLAT_LEVELS:
        raise _RejectedError(
            ImageRejectionReason.NO_FIELD_OF_VIEW, f"blank frame: grey levels {low:.0f} to {high:.0f}", frame
        )
    dark = _surround_level(level_HW)
    if dark is None:
        return whole
    left, top, right, bottom = _lit_box(level_HW > dark + max(8.0, 0.08 * (high - dark)), frame)
    side = max(right - left, bottom - top)
    window = _Window((left + right - side) / 2 * factor, (top + bottom - side) / 2 * factor, side * factor)
    slack = SNAP_FRACTION * whole.side
    near = max(abs(window.left - whole.left), abs(window.top - whole.top), abs(window.side - whole.side)) <= slack
    return whole if near else window


def _surround_level(level_HW: ByteImage) -> float | None:
    """Grey level of the dark surround, from the four corners of the frame; None where it has none.

    Two dark corners are enough: text, a notch or a flare may light the others.
    """
    height, width = level_HW.shape
    y, x = max(1, round(0.03 * height)), max(1, round(0.03 * width))
    corners = (level_HW[:y, :x], level_HW[:y, -x:], level_HW[-y:, :x], level_HW[-y:, -x:])
    second_darkest = sorted(float(np.median(corner)) for corner in corners)[1]
    return second_darkest if second_darkest <= DARK_LEVEL else None


def _lit_box(lit_HW: NDArray[np.bool_], frame: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the largest lit region, without thin things that stick out (text, flares)."""
    regions_HW, number = ndimage.label(lit_HW)
    areas = np.bincount(regions_HW.ravel())[1:]
    if number == 0 or areas.max() < MIN_FIELD_FRACTION * lit_HW.size:
        raise _RejectedError(ImageRejectionReason.NO_FIELD_OF_VIEW, "no lit region on the dark frame", frame)
    region_HW = ndimage.binary_fill_holes(regions_HW == 1 + areas.argmax())
    assert region_HW is not None
    # The outermost column of a disc of radius r that is still 6 % of it high lies 0.2 % of r inside.
    columns, rows = region_HW.sum(axis=0), region_HW.sum(axis=1)
    wide, high = (np.flatnonzero(part >= 0.06 * part.max()) for part in (columns, rows))
    return int(wide[0]), int(high[0]), int(wide[-1]) + 1, int(high[-1]) + 1


def _cut(frame: Image.Image, window: _Window, size_px: int) -> Image.Image:
    """The window as size_px x size_px pixels, antialiased, black beyond the frame."""
    if window == _Window(0, 0, size_px) and frame.size == (size_px, size_px):
        return frame
    left, top = max(window.left, 0.0), max(window.top, 0.0)
    right = min(window.left + window.side, float(frame.width))
    bottom = min(window.top + window.side, float(frame.height))
    scale = size_px / window.side
    # The visible part takes whole pixels of the result; what that moves its edges is below half a pixel.
    x0, y0 = round((left - window.left) * scale), round((top - window.top) * scale)
    x1, y1 = round((right - window.left) * scale), round((bottom - window.top) * scale)
    part = frame.resize(
        (max(1, x1 - x0), max(1, y1 - y0)), Image.Resampling.LANCZOS, box=(left, top, right, bottom), reducing_gap=3.0
    )
    square = Image.new("RGB", (size_px, size_px))
    square.paste(part, (x0, y0))
    return square
