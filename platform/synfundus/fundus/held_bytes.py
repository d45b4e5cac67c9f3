"""Bytes that a process holds while it prepares one photograph, besides the encoded bytes.

The numbers are bytes per pixel of the original, measured with Pillow 13 as the growth of resident memory;
tests/unit/fundus/test_held_bytes.py measures them again. Pillow stores a pixel of RGB, RGBA, LA and CMYK in 4 bytes.
"""

from PIL import Image, ImageFile, TiffImagePlugin

from synfundus.fundus.depth import is_deep_colour, is_deep_grey
from synfundus.fundus.transparency import is_transparent

MAX_HELD_BYTES = 640 * 2**20
"""Largest number of bytes held while one photograph is prepared: two images of 80 megapixels, 4 bytes per pixel.

Larger photographs are rejected. A replica of `/v1/diagnose` prepares as many photographs at once as fit in it, and the
memory limit of the chart's serving pods includes it."""
FIXED_BYTES = 8 * 2**20
"""Bytes held whatever the number of pixels: temporary arrays, and blocks that the allocator keeps."""
WEBP = 12.5
"""Bytes per pixel of WebP: libwebp holds two canvases and a copy of one."""
PPM_BY_PYTHON = 14.0
"""Bytes per pixel of PPM as text, or with samples that do not fill 8 or 16 bits: Pillow decodes both in Python."""
TIFF_DEEP_COLOUR = 16.5
"""Bytes per pixel of a TIFF: two images, and a strip of 8 bytes per pixel as large as the photograph."""
JPEG2000_PER_CHANNEL = 6.0
"""Bytes per pixel and channel of JPEG 2000: OpenJPEG holds 4 in its image, and at most 2 in its buffer."""
JPEG_COEFFICIENT = 2.0
"""Bytes of a coefficient: of a file with several scans, libjpeg holds all, whatever the size of the decoded image."""
_TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH = 322, 323


def held_bytes(image: ImageFile.ImageFile) -> int:
    """Return an upper bound of the bytes held while an opened, not yet loaded photograph is prepared."""
    pixels = image.width * image.height
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # the decoder holds whole tiles, which may be larger
        width, length = (image.tag_v2.get(number, 0) for number in (_TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH))
        pixels = max(pixels, width * length)
    return FIXED_BYTES + round(pixels * _bytes_per_pixel(image))


def _bytes_per_pixel(image: ImageFile.ImageFile) -> float:
    match image.format:
        case "WEBP":
            return WEBP
        case "JPEG2000":
            return JPEG2000_PER_CHANNEL * len(image.getbands()) + 4.0
        case "JPEG" | "MPO":
            coefficients = JPEG_COEFFICIENT * len(image.getbands()) if _has_several_scans(image) else 0.0
            return coefficients + _converted(image)
        case "PPM" if any(tile.codec_name.startswith("ppm") for tile in image.tile):
            return PPM_BY_PYTHON
        case "TIFF":
            return TIFF_DEEP_COLOUR if is_deep_colour(image) else 9.0
        case _:
            return 9.0 if is_deep_colour(image) else _converted(image)


def _converted(image: Image.Image) -> float:
    """Return the bytes per pixel of a loaded image and of its conversion to RGB, which RGB does not need."""
    if is_transparent(image):
        return 13.0 if image.mode == "RGB" else 9.0
    if is_deep_grey(image):
        return 8.0
    return {"RGB": 4.0, "L": 5.0, "P": 5.0, "1": 5.0}.get(image.mode, 8.0)


def _has_several_scans(image: ImageFile.ImageFile) -> bool:
    """Return whether a JPEG just opened is progressive, or stores its channels one after the other.

    Pillow has read up to the end of the header of the first scan: marker, length, number of channels, two bytes per
    channel, three bytes. One scan of all channels begins where this says. Of a file with several photographs (MPO)
    Pillow has read on, so it counts as one with several scans.
    """
    assert image.fp is not None
    end, num_channels = image.fp.tell(), len(image.getbands())
    image.fp.seek(max(0, end - 8 - 2 * num_channels))
    marker = image.fp.read(2)
    image.fp.seek(end)
    return "progressive" in image.info or marker != b"\xff\xda"
