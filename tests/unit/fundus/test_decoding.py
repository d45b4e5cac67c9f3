"""Whatever the format, an upright photograph comes out upright, with its own colours, or is rejected with a reason."""

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from support.fundus_photographs import encoded, photograph
from support.originals import (
    INVERSE,
    bmp_of_16_bits,
    bmp_with_alpha,
    deep_png,
    deep_tiff,
    png_chunk,
    with_chunk,
    xmp_of,
)
from synfundus.fundus.png import encode_png
from synfundus.fundus.preprocess import Prepared, Rejected, prepare_image
from synfundus.fundus.rejections import ImageRejectionReason

SIZE_PX = 64
UPRIGHT = photograph().resize((240, 160))


def prepared(data: bytes, *, is_fundus: bool = True) -> NDArray[np.int16]:
    result = prepare_image(data, SIZE_PX, is_fundus=is_fundus)
    assert isinstance(result, Prepared), result
    return result.pixels_HWC.astype(np.int16)


def rejected(data: bytes) -> Rejected:
    result = prepare_image(data, SIZE_PX)
    assert isinstance(result, Rejected), result
    return result


def mean_difference(data: bytes, expected: NDArray[np.int16]) -> float:
    return float(np.abs(prepared(data) - expected).mean())


EXPECTED = prepared(encoded(UPRIGHT))
FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "MPO": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
    "tiff_lzw": {},
    "jpeg": {},
}


def oriented(image_format: str, orientation: int) -> bytes:
    """Return a photograph that is stored turned, with the orientation that turns it upright."""
    inverse = INVERSE[orientation]
    stored = UPRIGHT if inverse is None else UPRIGHT.transpose(inverse)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "Jane Doe"
    if image_format in ("tiff_lzw", "jpeg"):
        return encoded(stored, "TIFF", compression=image_format, exif=exif)
    if image_format == "MPO":
        return encoded(stored, "MPO", save_all=True, append_images=[stored], exif=exif, **FORMATS["MPO"])
    return encoded(stored, image_format, exif=exif, **FORMATS[image_format])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", FORMATS)
def test_a_photograph_comes_out_upright_and_without_metadata(image_format: str, orientation: int) -> None:
    pixels = prepared(oriented(image_format, orientation))
    assert np.abs(pixels - EXPECTED).mean() < 1.5
    assert np.abs(pixels - EXPECTED[:, ::-1]).mean() > 4
    with Image.open(io.BytesIO(encode_png(pixels.astype(np.uint8)))) as image:
        assert image.info == {}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_an_orientation_in_xmp_counts(image_format: str, orientation: int) -> None:
    inverse = INVERSE[orientation]
    stored = UPRIGHT if inverse is None else UPRIGHT.transpose(inverse)
    if image_format == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp_of(orientation).decode())
        data = encoded(stored, "PNG", pnginfo=info)
    elif image_format == "TIFF":
        data = encoded(stored, "TIFF", tiffinfo={700: xmp_of(orientation)})
    else:
        data = encoded(stored, image_format, xmp=xmp_of(orientation), **FORMATS[image_format])
    assert mean_difference(data, EXPECTED) < 1.5


@pytest.mark.parametrize("place", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_the_exif_of_a_png_may_stand_behind_the_pixels(place: bytes, orientation: int) -> None:
    inverse = INVERSE[orientation]
    assert inverse is not None
    exif = Image.Exif()
    exif[0x0112] = orientation
    chunk = png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    assert mean_difference(with_chunk(encoded(UPRIGHT.transpose(inverse)), chunk, before=place), EXPECTED) < 1.5


def deep(bits: int) -> NDArray[np.uint16]:
    """Return the photograph with `bits` bits per channel, (H, W, 3)."""
    return np.rint(np.asarray(UPRIGHT) * (((1 << bits) - 1) / 255)).astype(np.uint16)


def bright(values_HWC: NDArray[np.uint16], bits: int) -> NDArray[np.uint16]:
    """Set one pixel to white, as a specular reflex does, so that the depth is known."""
    values_HWC[80, 120] = (1 << bits) - 1
    return values_HWC


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("channels", ["RGB", "RGBA", "LA", "grey"])
@pytest.mark.parametrize("file", ["png", "tiff", "tiff big-endian", "tiff deflate"])
def test_the_bits_that_are_used_are_scaled_to_eight(file: str, channels: str, bits: int) -> None:
    if channels == "LA" and file != "png":
        pytest.skip("Pillow does not read grey with alpha of 16 bits in a TIFF")
    values_HWC = bright(deep(bits), bits)
    shown = np.rint(values_HWC * (255 / ((1 << bits) - 1))).astype(np.uint8)
    if channels in ("LA", "grey"):
        values_HWC, shown = values_HWC[..., 1:2], shown[..., 1:2].repeat(3, axis=2)
    if channels in ("RGBA", "LA"):
        opaque = np.full((*values_HWC.shape[:2], 1), 65535, np.uint16)
        values_HWC = np.concatenate([values_HWC, opaque], axis=2)
    if file == "png":
        data = deep_png(values_HWC)
    else:
        data = deep_tiff(values_HWC, big_endian="big" in file, deflated="deflate" in file)
    assert np.abs(prepared(data) - prepared(encoded(Image.fromarray(shown)))).max() <= 1


def test_a_dark_tiff_is_scaled_by_the_largest_value_that_it_states() -> None:
    dark = (deep(12) // 8).astype(np.uint16)
    shown = np.rint(dark * (255 / 4095)).astype(np.uint8)
    data = deep_tiff(dark, tags={281: 4095})
    expected = prepared(encoded(Image.fromarray(shown)), is_fundus=False)
    assert np.abs(prepared(data, is_fundus=False) - expected).max() <= 1


def test_grey_with_white_as_zero_is_inverted() -> None:
    values_HWC = bright(deep(16), 16)[..., 1:2]
    data = deep_tiff(65535 - values_HWC, tags={262: 0})
    expected = prepared(encoded(Image.fromarray(np.rint(values_HWC[..., 0] / 257).astype(np.uint8))))
    assert np.abs(prepared(data) - expected).max() <= 1


def test_signed_grey_is_read_unless_a_value_is_negative() -> None:
    values_HWC = bright(deep(15), 15)[..., 1:2]
    expected = prepared(encoded(Image.fromarray(np.rint(values_HWC[..., 0] * (255 / 32767)).astype(np.uint8))))
    assert np.abs(prepared(deep_tiff(values_HWC, tags={339: 2})) - expected).max() <= 1
    values_HWC[5, 5] = 65000
    result = rejected(deep_tiff(values_HWC, tags={339: 2}))
    assert (result.reason, result.detail) == (ImageRejectionReason.UNREADABLE, "pixel values outside 16 bits")


def test_deep_colour_in_separate_planes_is_rejected_with_the_reason() -> None:
    result = rejected(deep_tiff(deep(12), tags={284: 2}))
    assert result.reason is ImageRejectionReason.UNREADABLE
    assert "separate planes" in result.detail


@pytest.mark.parametrize(("maximum", "bits"), [(65535, 12), (65535, 16), (4095, 12), (1000, 9)])
def test_deep_colour_of_a_ppm_is_scaled_as_that_of_other_formats(maximum: int, bits: int) -> None:
    white = (1 << bits) - 1 if maximum == 65535 else maximum
    values_HWC = bright(deep(bits), bits)
    shown = np.rint(values_HWC * (255 / white)).astype(np.uint8)
    header = f"P6\n{values_HWC.shape[1]} {values_HWC.shape[0]}\n{maximum}\n".encode()
    data = header + values_HWC.astype(">u2").tobytes()
    assert np.abs(prepared(data) - prepared(encoded(Image.fromarray(shown)))).max() <= 1
    as_text = b"P3" + header[2:] + " ".join(map(str, values_HWC.ravel())).encode()
    assert "16-bit colour as text is not read" in rejected(as_text).detail


@pytest.mark.parametrize("green_bits", [5, 6])
def test_a_bmp_of_sixteen_bits_per_pixel_is_read(green_bits: int) -> None:
    assert mean_difference(bmp_of_16_bits(UPRIGHT, green_bits), EXPECTED) < 6


NOISE = np.random.default_rng(0).bytes(2_000_000)


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"tEXt", b"Comment\0" + b"x" * 2_000_000),
        png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 2_000_000)),
        png_chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(b"x" * 2_000_000)),
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b" " * 2_000_000)),
        png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b" " * 2_000_000)),
        png_chunk(b"iCCP", b"camera\0\0" + zlib.compress(NOISE)),
        png_chunk(b"tEXt", b"Comment\0" + b"x" * 1_000_000) * 70,
    ],
    ids=["tEXt", "zTXt", "iTXt", "xmp", "exif", "iCCP", "many"],
)
def test_long_texts_and_profiles_change_nothing(chunk: bytes) -> None:
    assert np.array_equal(prepared(with_chunk(encoded(UPRIGHT), chunk, before=b"IDAT")), EXPECTED)


@pytest.mark.parametrize(("image_format", "bound"), [("JPEG", 1.5), ("WEBP", 1.5), ("TIFF", 0.0)])
def test_a_long_profile_in_other_formats_changes_nothing(image_format: str, bound: float) -> None:
    options = FORMATS[image_format] | {"icc_profile": NOISE[:1_500_000]}
    assert mean_difference(encoded(UPRIGHT, image_format, **options), EXPECTED) <= bound


def with_alpha(alpha: int) -> Image.Image:
    image = UPRIGHT.convert("RGBA")
    image.putalpha(alpha)
    return image


@pytest.mark.parametrize(
    "data",
    [
        bmp_with_alpha(UPRIGHT, 0),
        bmp_with_alpha(UPRIGHT, 255),
        encoded(with_alpha(0), "PNG"),
        encoded(with_alpha(1), "PNG"),
        encoded(with_alpha(0), "TIFF"),
        encoded(with_alpha(0), "TIFF", compression="tiff_lzw"),
        encoded(with_alpha(0), "TIFF", tiffinfo={338: 1}),
        encoded(with_alpha(0), "WEBP", lossless=True, exact=True),
    ],
    ids=["BMP 0", "BMP 255", "PNG 0", "PNG 1", "TIFF 0", "TIFF lzw", "TIFF associated", "WebP"],
)
def test_an_alpha_channel_of_one_value_throughout_is_ignored(data: bytes) -> None:
    assert np.abs(prepared(data) - EXPECTED).max() <= 1


@pytest.mark.parametrize(
    ("mode", "image_format"),
    [("RGBA", "PNG"), ("RGBA", "TIFF"), ("RGBA", "WEBP"), ("LA", "PNG"), ("LA", "TIFF"), ("P", "PNG"), ("P", "GIF")],
)
def test_transparent_pixels_become_black(mode: str, image_format: str) -> None:
    image = UPRIGHT.convert("RGBA")
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 130, image.height))
    if mode == "P":
        image = UPRIGHT.quantize(100)
        image.paste(255, (0, 0, 130, image.height))
        data = encoded(image, image_format, transparency=255)
    else:
        image.putalpha(alpha)
        options = {"lossless": True, "exact": True} if image_format == "WEBP" else {}
        data = encoded(image.convert(mode), image_format, **options)
    pixels = prepared(data, is_fundus=False)
    assert pixels[:, :33].max() <= 3
    assert pixels[:, 36:].max() > 100


def test_premultiplied_colours_are_those_on_black() -> None:
    data = encoded(with_alpha(128), "TIFF", tiffinfo={338: 1})
    assert np.abs(prepared(data) - EXPECTED).max() <= 1


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk_is_converted(image_format: str) -> None:
    options = FORMATS[image_format]
    assert mean_difference(encoded(UPRIGHT.convert("CMYK"), image_format, **options), EXPECTED) < 3


@pytest.mark.parametrize("image_format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_frames_the_first_is_used(image_format: str) -> None:
    frames = [UPRIGHT, photograph(1).resize(UPRIGHT.size)]
    if image_format == "GIF":
        frames = [frame.convert("P") for frame in frames]
    several = encoded(frames[0], image_format, save_all=True, append_images=frames[1:], **FORMATS.get(image_format, {}))
    assert mean_difference(several, prepared(encoded(frames[0], image_format, **FORMATS.get(image_format, {})))) < 0.5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "tiff_lzw", "WEBP", "BMP", "GIF", "JPEG2000", "PPM"])
def test_a_file_cut_in_the_middle_is_rejected(image_format: str) -> None:
    if image_format == "tiff_lzw":
        data = encoded(UPRIGHT, "TIFF", compression="tiff_lzw")
    else:
        data = encoded(UPRIGHT.convert("P") if image_format == "GIF" else UPRIGHT, image_format)
    result = rejected(data[: len(data) // 2])
    assert result.reason in (ImageRejectionReason.TRUNCATED, ImageRejectionReason.UNREADABLE)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (bytes(128) + b"DICM" + bytes(40), "DICOM"),
        (b"\0\0\0\x1cftypheic" + bytes(40), "HEIF"),
        (b"\0\0\0\x1cftypavif" + bytes(40), "AVIF"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_a_format_that_is_not_read_is_named(data: bytes, name: str) -> None:
    result = rejected(data)
    assert result.reason is ImageRejectionReason.NOT_AN_IMAGE
    assert result.detail == f"{name} is not read; convert the photograph to PNG, TIFF or JPEG"


def test_a_bigtiff_is_read() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = encoded(UPRIGHT, "TIFF", big_tiff=True)
    assert struct.unpack_from("<H", data, 2) == (43,)
    assert np.array_equal(prepared(data), EXPECTED)
