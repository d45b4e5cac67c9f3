"""Recognise an image format by the first bytes of a file, before a decoder reads them."""

from synfundus.fundus.rejections import ImageRejectedError, ImageRejectionReason

DECODABLE = (
    b"\xff\xd8\xff",
    b"\x89PNG",
    b"II*\x00",
    b"MM\x00*",
    b"II+\x00",
    b"MM\x00+",
    b"BM",
    b"RIFF",
    b"GIF8",
    b"\x00\x00\x00\x0cjP",
    b"\xff\x4f\xff\x51",
)
"""First bytes of JPEG, PNG, TIFF, BigTIFF, BMP, WebP, GIF and JPEG 2000; PPM begins with P and a digit."""
NOT_DECODED = (
    (128, b"DICM", "DICOM"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyp", "HEIF"),
    (0, b"%PDF", "PDF"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
)
"""Place, bytes and name of common formats that are not decoded."""


def require_decodable(data: bytes) -> None:
    """Refuse bytes that begin like no format that is decoded.

    Raises:
        ImageRejectedError: `NOT_AN_IMAGE`; the detail names the format if it is in `NOT_DECODED`.
    """
    if data.startswith(DECODABLE) or (data[:1] == b"P" and data[1:2].isdigit()):
        return
    names = (name for place, start, name in NOT_DECODED if data[place : place + len(start)] == start)
    name = next(names, None)
    detail = "not an image format that is read; use PNG, TIFF or JPEG" if data else "empty file"
    if name is not None:
        detail = f"{name} is not read; convert the photograph to PNG, TIFF or JPEG"
    raise ImageRejectedError(ImageRejectionReason.NOT_AN_IMAGE, detail)
