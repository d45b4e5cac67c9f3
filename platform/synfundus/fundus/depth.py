"""Scale pixels of more than 8 bits per channel to 8 bits.

Cameras store 10, 12 or 14 bits in 16-bit pixels, and most files do not state the depth. The value of white is the first
of these that is not below the largest value of all colour channels:

1. what the file states: TIFF's tag MaxSampleValue if it is 1023, 4095 or 16383, 32767 for signed 16-bit pixels, and the
   largest value of a PPM in colour unless it is 65535;
2. the largest value of 8, 10, 12, 14 or 16 bits.

`sBIT` of a PNG is ignored: it states how many bits were significant before scaling to 16 bits.

Pillow reads 16-bit grey, but only one of the two bytes of a channel of 16-bit colour. Its raw mode selects the byte:
`;16B` is the first and `;16L` the second of each pair. So deep colour is decoded twice.
"""

import re
import sys
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

BAND_PIXELS = 2**16
"""Pixels that are converted at once, so that temporary arrays stay small."""
_TIFF_BITS_PER_SAMPLE, _TIFF_PHOTOMETRIC, _TIFF_MAX_SAMPLE_VALUE = 258, 262, 281
_TIFF_PLANAR, _TIFF_SAMPLE_FORMAT = 284, 339
_WHITE_IS_ZERO, _SIGNED, _SEPARATE_PLANES = 0, 2, 2
Box = tuple[int, int, int, int]


def is_deep_grey(image: Image.Image) -> bool:
    """Return whether an image is grey with more than 8 bits."""
    return image.mode.startswith("I")


def is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """Return whether an image that is not loaded yet stores 16 bits per colour channel."""
    is_deep = re.search(";16[LBN]$", _raw_mode(image)) is not None  # `BGR;16` of a BMP has 5 or 6 bits per channel
    return (is_deep or _tag(image, _TIFF_BITS_PER_SAMPLE) == 16) and not is_deep_grey(image)


def grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Return a loaded deep grey image as RGB.

    Raises:
        ValueError: a value is negative or needs more than 16 bits.
    """
    lowest, largest = 0, 0
    for box in _bands(image):
        values_HW = np.asarray(image.crop(box))
        lowest, largest = min(lowest, int(values_HW.min())), max(largest, int(values_HW.max()))
    if lowest < 0 or largest > 0xFFFF:
        raise ValueError("pixel values outside 16 bits")
    table = _table(_white(largest, image))
    if _tag(image, _TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
        table = 255 - table
    result = Image.new("RGB", image.size)
    for box in _bands(image):
        result.paste(Image.fromarray(table[np.asarray(image.crop(box))]), box)
    return result


def colour_to_8_bits(open_image: Callable[[], ImageFile.ImageFile]) -> Image.Image:
    """Return a deep colour image as RGB, RGBA or CMYK with 8 bits.

    Args:
        open_image: opens the image anew, not loaded.

    Raises:
        ValueError: a TIFF stores its channels in separate planes, or a PPM is text.
    """
    stated = _ppm_white(open_image())
    high, low = (_byte(open_image(), place) for place in ("high", "low"))
    num_colours = 4 if high.mode == "CMYK" else 3
    largest = [0, 0]  # of the colours, and of alpha
    for box in _bands(high):
        values_HWC = _values(high, low, box)
        in_colours, in_alpha = values_HWC[..., :num_colours].max(), values_HWC[..., num_colours:].max(initial=0)
        largest = [max(largest[0], int(in_colours)), max(largest[1], int(in_alpha))]
    colour_table, alpha_table = _table(_white(largest[0], high, stated)), _table(_white(largest[1], None))
    for box in _bands(high):  # in place, which saves the memory of a third image
        values_HWC = _values(high, low, box)
        colours, alpha = colour_table[values_HWC[..., :num_colours]], alpha_table[values_HWC[..., num_colours:]]
        scaled = np.concatenate((colours, alpha), axis=2)
        high.paste(Image.frombytes(high.mode, (scaled.shape[1], scaled.shape[0]), scaled.tobytes()), box)
    high.info.pop("transparency", None)  # a transparent colour of 16 bits
    return high


def _byte(image: ImageFile.ImageFile, place: str) -> Image.Image:
    """Load one byte of each 16-bit channel.

    Args:
        place: `high` or `low`.
    """
    if _tag(image, _TIFF_PLANAR) == _SEPARATE_PLANES:
        raise ValueError("16-bit colour in separate planes is not read; save it with interleaved channels")
    if any(tile.codec_name == "ppm_plain" for tile in image.tile):
        raise ValueError("16-bit colour as text is not read; save it as a binary PPM, PNG or TIFF")
    raw_mode = _raw_mode(image)
    order = raw_mode[-1].replace("N", "L" if sys.byteorder == "little" else "B")
    wanted = order if place == "high" else {"L": "B", "B": "L"}[order]
    if raw_mode == "LA;16B":  # Pillow lacks its second byte; grey and alpha are four bytes, as RGBA of 8 bits
        return _split_grey_alpha(image, place)
    _set_raw_mode(image, raw_mode[:-1].replace("RGBa", "RGBA") + wanted)
    image.load()
    return image


def _split_grey_alpha(image: ImageFile.ImageFile, place: str) -> Image.Image:
    _set_raw_mode(image, "RGBA")
    image.load()
    grey, alpha = (image.getchannel(2 * i + (place == "low")) for i in range(2))
    return Image.merge("RGBA", (grey, grey, grey, alpha))


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """Return how the decoder stores pixels, such as `RGB;16B`; empty if the format does not say."""
    if image.mode == "RGB" and _ppm_maximum(image) > 0xFF:
        return "RGB;16B"
    args = image.tile[0].args if image.tile else None
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _set_raw_mode(image: ImageFile.ImageFile, raw_mode: str) -> None:
    image.tile = [
        tile._replace(codec_name="raw", args=raw_mode)  # Pillow's own codec scales by the maximum of the header
        if tile.codec_name == "ppm"
        else tile._replace(args=(raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode)
        for tile in image.tile
    ]


def _ppm_maximum(image: ImageFile.ImageFile) -> int:
    """Return the largest value that a PPM just opened states, or 0 if Pillow need not scale by it."""
    tile = image.tile[0] if image.tile else None
    if tile is None or tile.codec_name not in ("ppm", "ppm_plain") or not isinstance(tile.args, tuple):
        return 0
    return int(tile.args[1])


def _ppm_white(image: ImageFile.ImageFile) -> int | None:
    """Return the value of white that a PPM states; None if it states 65535, which is written for any depth."""
    maximum = _ppm_maximum(image)
    return maximum if 0xFF < maximum < 0xFFFF else None


def _tag(image: Image.Image | None, number: int) -> int | None:
    """Return the largest value of a TIFF tag; None for other formats, and without the tag."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or number not in image.tag_v2:
        return None
    value = image.tag_v2[number]
    return int(max(value) if isinstance(value, tuple) else value)


def _white(largest: int, image: Image.Image | None, ppm_white: int | None = None) -> int:
    """Return the value of white of an image whose largest value is `largest`."""
    tag = _tag(image, _TIFF_MAX_SAMPLE_VALUE)
    stated = tag if tag in (1023, 4095, 16383) else ppm_white
    if stated is not None and stated >= largest:
        return stated
    usual = next((1 << bits) - 1 for bits in (8, 10, 12, 14, 16) if largest < 1 << bits)
    is_signed = _tag(image, _TIFF_SAMPLE_FORMAT) == _SIGNED
    return 32767 if is_signed and usual == 0xFFFF and largest <= 32767 else usual


def _table(white: int) -> NDArray[np.uint8]:
    """Return the 8-bit value of each value 0 to `white`."""
    table: NDArray[np.uint8] = np.rint(np.arange(white + 1) * (255.0 / white)).astype(np.uint8)
    return table


def _bands(image: Image.Image) -> Iterator[Box]:
    """Yield boxes of whole rows that cover an image."""
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _values(high: Image.Image, low: Image.Image, box: Box) -> NDArray[np.uint16]:
    """Return the 16-bit values in a box, (H, W, C)."""
    values_HWC: NDArray[np.uint16] = np.asarray(high.crop(box)).astype(np.uint16) << 8 | np.asarray(low.crop(box))
    return values_HWC
