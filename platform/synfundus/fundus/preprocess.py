"""Prepare one photograph: decode it, find the field of view, crop, pad with black, resize to a square, turn upright.

The result is a pure function of the bytes and the settings. All metadata is dropped.
"""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synfundus.fundus.config import MAX_MEGAPIXELS, PrepareConfig
from synfundus.fundus.decoding import Frame, Original, decode_frame, open_original
from synfundus.fundus.field_of_view import Window, find_window
from synfundus.fundus.orientation import upright
from synfundus.fundus.rejections import ImageRejectedError, ImageRejectionReason

OVERSAMPLING = 2
"""Decoded pixels per prepared pixel that remain when libjpeg decodes at reduced size (a box average: antialiased)."""
TWIN_PX = 128
"""Side of the grey image on which duplicates are found."""

ByteImage = NDArray[np.uint8]
Hold = Callable[[int], AbstractContextManager[object]]
"""Function that returns a context in which a number of bytes may be held. Entering it may wait until they are free."""


def _hold_at_once(num_bytes: int) -> AbstractContextManager[object]:  # noqa: ARG001  the contract of `Hold`
    return nullcontext()


@dataclass(frozen=True)
class Prepared:
    """A prepared image."""

    pixels_HWC: ByteImage
    """(size_px, size_px, 3) RGB."""
    twin_HW: ByteImage
    """(128, 128) green channel of the same window, for the search for duplicates."""
    field_px: int
    """Diameter of the field of view in pixels of the original."""


@dataclass(frozen=True)
class Rejected:
    """An image that cannot be prepared."""

    reason: ImageRejectionReason
    detail: str
    """Explanation in one line."""
    thumbnail: ByteImage | None = None
    """(H, W, 3), sides of at most 128; None if the image was not decoded."""


def image_id(data: bytes) -> str:
    """Return the name of an image: the first 16 hex digits of the SHA-256 of its source bytes."""
    return hashlib.sha256(data).hexdigest()[:16]


def prepare_by(
    config: PrepareConfig, data: bytes, *, is_fundus: bool = True, hold: Hold = _hold_at_once
) -> Prepared | Rejected:
    """Prepare one encoded image with the settings of a study; equal bytes give equal pixels on every machine."""
    return prepare_image(
        data,
        config.size_px,
        min_field_px=config.smallest_field_px,
        max_megapixels=config.max_megapixels,
        is_fundus=is_fundus,
        hold=hold,
    )


def prepare_image(
    data: bytes,
    size_px: int,
    *,
    min_field_px: int = 1,
    max_megapixels: float = MAX_MEGAPIXELS,
    is_fundus: bool = True,
    hold: Hold = _hold_at_once,
) -> Prepared | Rejected:
    """Prepare one encoded image.

    Args:
        size_px: side of the result.
        min_field_px: smallest accepted diameter of the field of view, in pixels of the original.
        max_megapixels: largest accepted original, at most 89; larger ones are rejected as decompression bombs.
        is_fundus: False for an image labelled `is_fundus` 0. It has no field of view and is taken whole.
        hold: entered with the bytes that decoding holds at most, `held_bytes.MAX_HELD_BYTES` or fewer.

    Returns:
        The prepared image, or the reason for rejecting it. No bytes make this function raise.
    """
    try:
        original = open_original(data, max_megapixels)
        with hold(original.held_bytes):
            return _prepare_original(original, size_px, min_field_px, is_fundus)
    except ImageRejectedError as error:
        return Rejected(error.reason, error.detail)


def _prepare_original(original: Original, size_px: int, min_field_px: int, is_fundus: bool) -> Prepared | Rejected:
    """Prepare an original whose header has been read.

    Raises:
        ImageRejectedError: it cannot be decoded.
    """
    short_side_px = OVERSAMPLING * max(size_px, TWIN_PX)
    frame = decode_frame(original, short_side_px)
    try:
        window = find_window(frame.image, is_fundus)
        if frame.scale > 1 and window.side < short_side_px:
            # The field fills a small part of the frame, so the reduced decoding was too coarse for it.
            frame = decode_frame(original, None)
            window = find_window(frame.image, is_fundus)
        field_px = round(window.side * frame.scale)
        if field_px < min_field_px:
            detail = f"field of view of {field_px} px; the smallest accepted is {min_field_px} px"
            raise ImageRejectedError(ImageRejectionReason.TOO_SMALL, detail)
    except ImageRejectedError as error:
        return Rejected(error.reason, error.detail, _thumbnail(frame))
    pixels = _cut(frame, window, size_px)
    twin = pixels if size_px == TWIN_PX else _cut(frame, window, TWIN_PX)
    return Prepared(pixels, twin[:, :, 1].copy(), field_px)


def _thumbnail(frame: Frame) -> ByteImage:
    # Reduced before it is resized: `Image.thumbnail` alone would work on a copy of the frame.
    small = frame.image.reduce(max(1, max(frame.image.size) // (2 * TWIN_PX)))
    small.thumbnail((TWIN_PX, TWIN_PX), Image.Resampling.BOX)
    return np.asarray(upright(small, frame.orientation))


def _cut(frame: Frame, window: Window, size_px: int) -> ByteImage:
    """Return the window upright, (size_px, size_px, 3), antialiased, black beyond the frame."""
    return np.asarray(upright(_square(frame.image, window, size_px), frame.orientation))


def _square(frame: Image.Image, window: Window, size_px: int) -> Image.Image:
    if window == Window(0, 0, size_px) and frame.size == (size_px, size_px):
        return frame
    left, top = max(window.left, 0.0), max(window.top, 0.0)
    right = min(window.left + window.side, float(frame.width))
    bottom = min(window.top + window.side, float(frame.height))
    scale = size_px / window.side
    # The visible region covers whole pixels of the result, which moves its edges by less than half a pixel.
    x0, y0 = round((left - window.left) * scale), round((top - window.top) * scale)
    x1, y1 = round((right - window.left) * scale), round((bottom - window.top) * scale)
    visible = frame.resize(
        (max(1, x1 - x0), max(1, y1 - y0)), Image.Resampling.LANCZOS, box=(left, top, right, bottom), reducing_gap=3.0
    )
    square = Image.new("RGB", (size_px, size_px))
    square.paste(visible, (x0, y0))
    return square
