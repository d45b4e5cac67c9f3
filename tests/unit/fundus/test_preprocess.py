"""Preparation of one photograph: a prepared image, or a reason for rejecting it."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from support.fundus_photographs import DISC_PX, FRAME, LEFT, TOP, disc, encoded, max_difference, photograph
from synfundus.fundus.png import encode_png
from synfundus.fundus.preprocess import Prepared, Rejected, image_id, prepare_image
from synfundus.fundus.rejections import ImageRejectionReason


def prepared(data: bytes, size_px: int = 128, *, is_fundus: bool = True, min_field_px: int = 1) -> Prepared:
    result = prepare_image(data, size_px, is_fundus=is_fundus, min_field_px=min_field_px)
    assert isinstance(result, Prepared), result
    return result


def rejected(data: bytes, size_px: int = 128, *, min_field_px: int = 1, is_fundus: bool = True) -> Rejected:
    result = prepare_image(data, size_px, min_field_px=min_field_px, is_fundus=is_fundus)
    assert isinstance(result, Rejected)
    return result


def test_the_field_of_view_is_found_and_fills_the_square() -> None:
    lit_HW = np.asarray(disc(0)).max(axis=2) > 25
    rows, columns = np.flatnonzero(lit_HW.any(axis=1)), np.flatnonzero(lit_HW.any(axis=0))
    left, top, side = LEFT + columns[0], TOP + rows[0], columns[-1] + 1 - columns[0]
    result = prepared(encoded(photograph()), 128)
    assert abs(result.field_px - side) <= 0.02 * side
    truth = photograph().crop((left, top, left + side, top + side)).resize((128, 128), Image.Resampling.LANCZOS)
    assert np.abs(result.pixels_HWC.astype(int) - np.asarray(truth)).mean() < 4.0


@pytest.mark.parametrize("cut_px", [0, 30])
@pytest.mark.parametrize("size_px", [32, 96, 200])
def test_preparing_a_prepared_image_changes_nothing(size_px: int, cut_px: int) -> None:
    frame = photograph().crop((0, TOP + cut_px, FRAME[0], TOP + DISC_PX - cut_px))
    once = prepared(encoded(frame), size_px)
    twice = prepared(encode_png(once.pixels_HWC), size_px)
    assert max_difference(once.pixels_HWC, twice.pixels_HWC) <= 2


def test_a_field_cut_at_top_and_bottom_is_padded_with_black() -> None:
    frame = photograph().crop((0, TOP + 30, FRAME[0], TOP + DISC_PX - 30))
    pixels = prepared(encoded(frame), 100).pixels_HWC
    assert pixels[:9].max() == 0
    assert pixels[-9:].max() == 0
    assert pixels[13:-13, 40:60].min(axis=2).mean() > 10


def test_equal_bytes_give_equal_pixels() -> None:
    data = encoded(photograph(1), "JPEG", quality=90)
    assert prepared(data).pixels_HWC.tobytes() == prepared(data).pixels_HWC.tobytes()
    assert encode_png(prepared(data).pixels_HWC) == encode_png(prepared(data).pixels_HWC)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_resizing_is_antialiased(image_format: str) -> None:
    """One-pixel stripes are finer than the result can hold and become their mean; subsampling gives black or white."""
    stripes = np.zeros((2048, 2048, 3), np.uint8)
    stripes[:, ::2] = 255
    options = {"quality": 100, "subsampling": 0} if image_format == "JPEG" else {}
    pixels = prepared(encoded(Image.fromarray(stripes), image_format, **options), 64, is_fundus=False).pixels_HWC
    assert np.abs(pixels[4:-4, 4:-4].astype(int) - 128).max() <= 3


def test_reduced_jpeg_decoding_gives_what_full_decoding_gives() -> None:
    large = photograph().resize((1920, 1280), Image.Resampling.BICUBIC)
    jpeg = encoded(large, "JPEG", quality=95)
    full = encoded(Image.open(io.BytesIO(jpeg)).convert("RGB"))
    one, other = (prepared(data, 96, is_fundus=False).pixels_HWC.astype(int) for data in (jpeg, full))
    assert np.abs(one - other).mean() < 0.5
    assert abs(prepared(jpeg, 96).field_px - prepared(full, 96).field_px) <= 0.015 * large.width


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_photograph_with_broken_exif_is_accepted() -> None:
    data = encoded(photograph(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff garbage")
    assert prepared(data).field_px > 250


def test_every_mode_is_converted_to_rgb() -> None:
    grey = photograph().convert("L")
    expected = prepared(encoded(grey)).pixels_HWC
    assert np.array_equal(expected[:, :, 0], expected[:, :, 2])
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    twelve = Image.fromarray(np.rint(np.asarray(grey) * (4095 / 255)).astype(np.uint16))
    scale = 255 / int(np.asarray(grey).max())
    for image, image_format, bound in (
        (deep, "PNG", 1),
        (twelve, "PNG", 1),
        (deep, "TIFF", 1),
        (grey.convert("RGB"), "PNG", 0),
        (grey.convert("RGBA"), "PNG", 0),
        (grey.convert("LA"), "PNG", 0),
        (grey.convert("RGB").convert("CMYK"), "TIFF", 2),
        (grey.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE), "GIF", 8),
        (grey, "BMP", 0),
    ):
        pixels = prepared(encoded(image, image_format)).pixels_HWC
        assert max_difference(pixels, expected) <= bound + round(scale) - 1, (image.mode, image_format)


def test_transparent_pixels_are_black_and_the_first_frame_is_used() -> None:
    image = photograph().convert("RGBA")
    alpha = np.asarray(image).copy()
    alpha[:, : LEFT + DISC_PX // 2, 3] = 0
    pixels = prepared(encoded(Image.fromarray(alpha)), 64, is_fundus=False).pixels_HWC
    assert pixels[:, :30].max() <= 2
    frames = [photograph(0).convert("P"), photograph(1).convert("P")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.array_equal(prepared(data).pixels_HWC, prepared(encoded(frames[0], "GIF")).pixels_HWC)


def test_text_in_the_dark_corner_does_not_widen_the_crop() -> None:
    plain = photograph()
    written = np.asarray(plain).copy()
    written[6:14, 4:60] = 255
    written[290:300, 440:470] = 200
    window = prepared(encoded(plain)).field_px
    assert abs(prepared(encoded(Image.fromarray(written))).field_px - window) <= 2


def test_a_frame_without_dark_surround_is_taken_whole() -> None:
    middle = disc(0).crop((90, 110, 210, 190))
    result = prepared(encoded(middle), 60)
    assert result.field_px == 120
    assert result.pixels_HWC[:9].max() == 0, "padded to a square"
    assert np.abs(result.pixels_HWC[10:50].astype(int) - np.asarray(middle.resize((60, 40), 1))).max() <= 2


def test_an_image_labelled_as_no_fundus_is_taken_whole() -> None:
    frame = photograph()
    result = prepared(encoded(frame), 96, is_fundus=False)
    assert result.field_px == FRAME[0]
    black = Image.new("RGB", (90, 60))
    assert prepared(encoded(black), 30, is_fundus=False).pixels_HWC.max() == 0


def bomb() -> bytes:
    """Return a small file whose header claims 30,000 x 30,000 pixels."""
    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\x00" * 1000)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def damaged_in_the_middle() -> bytes:
    data = bytearray(encoded(photograph()))
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    return bytes(data)


JPEG = encoded(photograph(), "JPEG", quality=85)
PNG = encoded(photograph())
FLOATS = encoded(Image.fromarray(np.asarray(photograph().convert("L")).astype(np.float32)), "TIFF")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", ImageRejectionReason.NOT_AN_IMAGE),
        (b"patient;eye\n1;left\n", ImageRejectionReason.NOT_AN_IMAGE),
        (b"PK\x03\x04" + bytes(100), ImageRejectionReason.NOT_AN_IMAGE),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", ImageRejectionReason.NOT_AN_IMAGE),
        (JPEG[: len(JPEG) // 2], ImageRejectionReason.TRUNCATED),
        (PNG[: len(PNG) // 2], ImageRejectionReason.TRUNCATED),
        (JPEG[:20], ImageRejectionReason.TRUNCATED),
        (PNG[:20], ImageRejectionReason.TRUNCATED),
        (encoded(photograph(), "WEBP")[:-500], ImageRejectionReason.TRUNCATED),
        (encoded(photograph(), "BMP")[:-500], ImageRejectionReason.TRUNCATED),
        (damaged_in_the_middle(), ImageRejectionReason.UNREADABLE),
        (FLOATS, ImageRejectionReason.UNREADABLE),
        (bomb(), ImageRejectionReason.DECOMPRESSION_BOMB),
        (encoded(Image.new("RGB", (200, 200))), ImageRejectionReason.NO_FIELD_OF_VIEW),
        (encoded(Image.new("RGB", (200, 200), (90, 40, 20))), ImageRejectionReason.NO_FIELD_OF_VIEW),
    ],
)
def test_each_defect_has_its_reason_and_a_detail_of_one_line(data: bytes, reason: ImageRejectionReason) -> None:
    result = rejected(data)
    assert result.reason is reason
    assert result.detail
    assert "\n" not in result.detail


def test_a_few_bright_specks_are_no_field_of_view() -> None:
    specks = np.zeros((300, 300, 3), np.uint8)
    specks[::37, ::41] = 255
    specks[100:112, 100:120] = 255
    assert rejected(encoded(Image.fromarray(specks))).reason is ImageRejectionReason.NO_FIELD_OF_VIEW


def test_too_small_measures_the_field_of_view_and_keeps_a_thumbnail() -> None:
    data = encoded(photograph())
    result = rejected(data, min_field_px=DISC_PX + 20)
    assert result.reason is ImageRejectionReason.TOO_SMALL
    assert result.thumbnail is not None
    assert max(result.thumbnail.shape[:2]) == 128
    assert prepared(data, min_field_px=DISC_PX - 10).field_px >= DISC_PX - 10


def test_the_megapixel_limit_is_a_setting() -> None:
    result = prepare_image(PNG, 64, max_megapixels=0.1)
    assert isinstance(result, Rejected)
    assert result.reason is ImageRejectionReason.DECOMPRESSION_BOMB
    assert "480 x 320" in result.detail


@pytest.mark.filterwarnings("ignore")  # decoders warn about the damage
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP"])
def test_damaged_bytes_never_raise(image_format: str) -> None:
    rng = np.random.default_rng(0)
    whole = encoded(photograph().resize((96, 64)), image_format)
    for _ in range(40):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 6):
            data[place] = rng.integers(0, 256)
        result = prepare_image(bytes(data[: rng.integers(8, len(data) + 1)]), 32)
        assert isinstance(result, Prepared | Rejected)


def test_image_id_is_the_start_of_the_sha256_of_the_source_bytes() -> None:
    assert image_id(b"abc") == "ba7816bf8f01cfea"
