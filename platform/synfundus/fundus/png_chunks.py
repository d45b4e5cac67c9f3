"""Check the chunks of a PNG file, and drop those that decoding does not need.

Pillow rejects a whole PNG for more than 1 MB of compressed text or colour profile, although neither changes a pixel.
Format: https://www.w3.org/TR/png-3/#5DataRep.
"""

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
ORIENTED_TEXTS = (b"XML:com.adobe.xmp", b"Raw profile type exif", b"Raw profile type APP1")
"""Keywords of the texts that may hold the orientation."""
MAX_TEXT_BYTES = 2**20
"""Largest decompressed text that Pillow accepts."""


def without_unused_chunks(data: bytes) -> bytes:
    """Return a PNG without colour profile and texts, except texts that may hold the orientation.

    Raises:
        ValueError: a checksum differs, or the file ends within a chunk.
    """
    kept: list[bytes | memoryview] = [SIGNATURE]
    for name, whole in _chunks(data):
        if name == b"iCCP" or (name in TEXTS and not _may_orient(name, bytes(whole[8:-4]))):
            continue
        kept.append(whole)
    return b"".join(kept)


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield name and bytes of each chunk: length, name, content, checksum."""
    view, start, name = memoryview(data), len(SIGNATURE), b""
    while name != b"IEND":
        if start + 12 > len(data):
            raise ValueError("truncated PNG: the chunk IEND is missing")
        (length,) = struct.unpack_from(">I", data, start)
        whole = view[start : start + 12 + length]
        name = bytes(whole[4:8])
        if len(whole) < 12 + length:
            raise ValueError(f"truncated PNG: the file ends within the chunk {name!r}")
        if zlib.crc32(whole[4:-4]) != int.from_bytes(whole[-4:]):
            raise ValueError(f"broken PNG file (bad header checksum in {name!r})")
        yield name, whole
        start += 12 + length


def _may_orient(name: bytes, content: bytes) -> bool:
    """Return whether a text chunk may hold the orientation and is short enough for Pillow."""
    keyword, _, text = content.partition(b"\0")
    if keyword not in ORIENTED_TEXTS or len(content) > MAX_TEXT_BYTES:
        return False
    if name == b"zTXt":  # a byte for the method, then the compressed text
        return _inflates_within_limit(text[1:])
    if name == b"iTXt" and text[:1] == b"\1":  # flag, method, language, translated keyword, compressed text
        return _inflates_within_limit(text[2:].split(b"\0", 2)[-1])
    return True


def _inflates_within_limit(compressed: bytes) -> bool:
    try:
        return len(zlib.decompressobj().decompress(compressed, MAX_TEXT_BYTES + 1)) <= MAX_TEXT_BYTES
    except zlib.error:
        return False
