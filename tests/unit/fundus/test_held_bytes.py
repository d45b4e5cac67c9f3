"""Memory that preparing one photograph takes, measured in a new process, against what `held_bytes` states."""

import io
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.fundus_photographs import encoded
from support.originals import deep_png, deep_tiff
from support.peak_of_decoding import peak_of_preparing
from synfundus.fundus.decoding import open_original
from synfundus.fundus.held_bytes import FIXED_BYTES, MAX_HELD_BYTES
from synfundus.fundus.preprocess import Rejected, prepare_image
from synfundus.fundus.rejections import ImageRejectionReason

SIDE_PX = 1600
"""Side of the originals: large enough that their pixels outweigh what a process allocates anyway."""
ALLOWED_BYTES = 3 * 2**20
"""Part of `FIXED_BYTES` that a photograph of this size may use: 1.2 bytes per pixel."""
TURNED = Image.Exif()
TURNED[0x0112] = 6


def plain(mode: str, side_px: int = SIDE_PX) -> Image.Image:
    """Return a disc with a gradient, which every format compresses quickly."""
    y, x = np.mgrid[:side_px, :side_px].astype(np.float32) / side_px - 0.5
    level_HW = ((x * x + y * y < 0.2) * (150 + 100 * x)).astype(np.uint8)
    image = Image.merge("RGB", [Image.fromarray((level_HW * share).astype(np.uint8)) for share in (1.0, 0.6, 0.3)])
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(np.where(level_HW > 0, 255, 0).astype(np.uint8)))
    return image.quantize(64) if mode == "P" else image.convert(mode)


def deep(num_channels: int, file: str) -> bytes:
    values_HWC = np.asarray(plain("RGB" if num_channels < 4 else "RGBA")).astype(np.uint16)[..., :num_channels] * 16
    return deep_png(values_HWC) if file == "PNG" else deep_tiff(values_HWC, deflated=True)


def whole_strip(**options: Any) -> dict[str, Any]:
    return options | {"tiffinfo": {278: SIDE_PX}}


ORIGINALS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "PNG": ("RGB", "PNG", {}),
    "PNG turned": ("RGB", "PNG", {"exif": TURNED}),
    "PNG with alpha": ("RGBA", "PNG", {}),
    "PNG with alpha turned": ("RGBA", "PNG", {"exif": TURNED}),
    "PNG grey with alpha": ("LA", "PNG", {}),
    "PNG palette": ("P", "PNG", {"transparency": 0}),
    "PNG transparent colour": ("RGB", "PNG", {"transparency": (0, 0, 0)}),
    "TIFF turned": ("RGB", "TIFF", {"exif": TURNED}),
    "TIFF one strip": ("RGB", "TIFF", whole_strip(compression="tiff_lzw")),
    "TIFF with alpha": ("RGBA", "TIFF", whole_strip(compression="tiff_lzw")),
    "TIFF JPEG": ("RGB", "TIFF", whole_strip(compression="jpeg")),
    "TIFF CMYK": ("CMYK", "TIFF", {}),
    "BMP": ("RGB", "BMP", {}),
    "GIF": ("P", "GIF", {}),
    "PPM": ("RGB", "PPM", {}),
    "WebP": ("RGB", "WEBP", {"method": 0}),
    "WebP turned": ("RGB", "WEBP", {"method": 0, "exif": TURNED}),
    "WebP with alpha": ("RGBA", "WEBP", {"method": 0}),
    "WebP lossless": ("RGB", "WEBP", {"method": 0, "quality": 0, "lossless": True}),
    "JPEG": ("RGB", "JPEG", {}),
    "JPEG progressive": ("RGB", "JPEG", {"progressive": True, "subsampling": 0}),
    "JPEG CMYK progressive": ("CMYK", "JPEG", {"progressive": True}),
    "JPEG 2000": ("RGB", "JPEG2000", {}),
    "JPEG 2000 grey": ("L", "JPEG2000", {}),
}


def original(name: str) -> bytes:
    if name.startswith("deep"):
        _, file, num_channels = name.split()
        return deep(int(num_channels), file)
    mode, image_format, options = ORIGINALS[name]
    return encoded(plain(mode), image_format, **options)


@pytest.fixture(scope="module")
def new_process() -> Iterator[ProcessPoolExecutor]:
    """A process that has prepared nothing yet."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("name", [*ORIGINALS, "deep PNG 1", "deep PNG 3", "deep PNG 4", "deep TIFF 3", "deep TIFF 4"])
def test_preparing_a_photograph_holds_no_more_than_stated(
    name: str, tmp_path: Path, new_process: ProcessPoolExecutor
) -> None:
    data = original(name)
    file = tmp_path / "original"
    file.write_bytes(data)
    measured = new_process.submit(peak_of_preparing, str(file)).result()
    stated = open_original(data, 80).held_bytes
    assert measured <= stated - FIXED_BYTES + ALLOWED_BYTES, (
        f"{measured / SIDE_PX**2:.1f} of {stated / SIDE_PX**2:.1f} bytes per pixel"
    )


def test_a_photograph_that_takes_more_than_the_limit_is_rejected_before_it_is_decoded() -> None:
    """55 megapixels of WebP: within `max_megapixels`."""
    sink = io.BytesIO()
    Image.new("RGB", (7400, 7400)).save(sink, "WEBP", method=0)
    result = prepare_image(sink.getvalue(), 64)
    assert isinstance(result, Rejected)
    assert result.reason is ImageRejectionReason.DECOMPRESSION_BOMB
    assert "7400 x 7400 pixels of WEBP (RGB) takes up to 661 MiB; at most 640 MiB are held" in result.detail


def test_a_tiff_tile_larger_than_the_photograph_counts() -> None:
    data = deep_tiff(np.zeros((4, 4, 3), np.uint16), tags={322: 60_000, 323: 60_000})
    result = prepare_image(data, 64)
    assert isinstance(result, Rejected)
    assert result.reason is ImageRejectionReason.DECOMPRESSION_BOMB


@pytest.mark.parametrize("megapixels", [12, 24, 50, 80])
def test_usual_formats_of_usual_cameras_stay_within_the_limit(megapixels: int) -> None:
    """A header that claims the size is enough: nothing is decoded."""
    small = encoded(Image.new("RGB", (16, 16)), "BMP")
    width = round((megapixels * 1.5e6) ** 0.5)
    header = small[:18] + width.to_bytes(4, "little") + round(width / 1.5).to_bytes(4, "little") + small[26:]
    assert open_original(header, 81).held_bytes <= MAX_HELD_BYTES
