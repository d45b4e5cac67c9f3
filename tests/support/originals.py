"""Originals that Pillow cannot write, made byte by byte."""

import struct
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

INVERSE = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""Transformation from an upright image to the stored one, by orientation."""


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunk(png: bytes, chunk: bytes, *, before: bytes) -> bytes:
    """Insert a chunk before the first chunk of the name `before`."""
    place = png.index(before) - 4
    return png[:place] + chunk + png[place:]


def deep_png(values_HWC: NDArray[np.uint16]) -> bytes:
    """Return a PNG of 16 bits per channel; 1 to 4 channels."""
    height, width, num_channels = values_HWC.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[num_channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values_HWC)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, content) for name, content in chunks)


def deep_tiff(
    values_HWC: NDArray[np.uint16],
    *,
    big_endian: bool = False,
    deflated: bool = False,
    tags: Mapping[int, int] | None = None,
) -> bytes:
    """Return a TIFF of 16 bits per channel in one strip; a fourth channel is alpha.

    Args:
        tags: number to value of further tags of one 16-bit value, which replace those that are written anyway.
    """
    height, width, num_channels = values_HWC.shape
    order = ">" if big_endian else "<"
    pixels = values_HWC.astype(f"{order}u2").tobytes()
    pixels = zlib.compress(pixels) if deflated else pixels
    values = {256: [width], 257: [height], 258: [16] * num_channels, 259: [8 if deflated else 1]}
    values |= {262: [1 if num_channels == 1 else 2], 277: [num_channels], 278: [height]}
    values |= {338: [2]} if num_channels == 4 else {}
    values |= {number: [value] for number, value in (tags or {}).items()}
    num_entries = len(values) + 2
    bits_at = 8 + 2 + 12 * num_entries + 4
    pixels_at = bits_at + 2 * num_channels
    entries = {number: struct.pack(f"{order}HHI", number, 3, len(one)) for number, one in values.items()}
    for number, one in values.items():
        if len(one) <= 2:
            entries[number] += struct.pack(f"{order}HH", *one, *[0] * (2 - len(one)))
        else:
            entries[number] += struct.pack(f"{order}I", bits_at)
    entries[273] = struct.pack(f"{order}HHII", 273, 4, 1, pixels_at)
    entries[279] = struct.pack(f"{order}HHII", 279, 4, 1, len(pixels))
    header = (b"MM" if big_endian else b"II") + struct.pack(f"{order}HI", 42, 8)
    directory = struct.pack(f"{order}H", num_entries) + b"".join(entries[n] for n in sorted(entries)) + bytes(4)
    return header + directory + struct.pack(f"{order}{num_channels}H", *[16] * num_channels) + pixels


def bmp_with_alpha(image: Image.Image, alpha: int) -> bytes:
    """Return a BMP of 32 bits with a mask for alpha (BITMAPV4HEADER), whose alpha is `alpha` throughout."""
    stored = image.convert("RGBA")
    stored.putalpha(alpha)
    pixels = stored.tobytes("raw", "BGRA", 0, -1)
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, *image.size, 1, 32, 3, len(pixels), 0, 0, 0, 0) + masks + bytes(52)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(pixels), 0, 0, 14 + len(header)) + header + pixels


def bmp_of_16_bits(image: Image.Image, green_bits: int) -> bytes:
    """Return a BMP of 16 bits per pixel: 5 each of red and blue, and 5 or 6 of green."""
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"))[::-1].astype("<u2"), 2, 0)
    values_HW = red >> 3 << 5 + green_bits | green >> 8 - green_bits << 5 | blue >> 3
    pixels = np.pad(values_HW, ((0, 0), (0, image.width % 2))).astype("<u2").tobytes()
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F) if green_bits == 6 else b""
    header = struct.pack("<IiiHHIIiiII", 40, *image.size, 1, 16, 3 if masks else 0, len(pixels), 0, 0, 0, 0) + masks
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(pixels), 0, 0, 14 + len(header)) + header + pixels


def xmp_of(orientation: int) -> bytes:
    """Return an XMP packet that states an orientation."""
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
