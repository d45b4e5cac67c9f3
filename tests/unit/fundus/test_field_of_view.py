"""The field of view beside things that are light and no retina: mats, report bars, boxes of text."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from support.fundus_photographs import FRAME, disc, encoded, photograph
from synfundus.fundus.preprocess import Prepared, Rejected, prepare_image
from synfundus.fundus.rejections import ImageRejectionReason

WHITE, GREY, BLUE = (255, 255, 255), (190, 192, 188), (90, 120, 250)
PLAIN = prepare_image(encoded(photograph()), 96)


def with_box(box: tuple[int, int, int, int], colour: tuple[int, int, int]) -> Image.Image:
    """Return a photograph with a light box that holds some text."""
    frame = photograph()
    draw = ImageDraw.Draw(frame)
    draw.rectangle(box, fill=colour)
    draw.text((box[0] + 4, box[1] + 2), "PATIENT 12  OD  2024-03-01", fill=(0, 0, 0))
    return frame


def cut_out(colour: tuple[int, int, int]) -> Image.Image:
    """Return a photograph whose dark surround is replaced by a colour."""
    lit = np.asarray(photograph().convert("L").point(lambda level: 255 * (level > 12)))
    pixels = np.asarray(photograph()).copy()
    pixels[lit == 0] = colour
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "frame",
    [
        with_box((0, 290, *FRAME), WHITE),
        with_box((0, 290, *FRAME), BLUE),
        with_box((0, 0, FRAME[0], 40), GREY),
        with_box((0, 0, 125, FRAME[1]), WHITE),
        with_box((0, 270, 240, FRAME[1]), WHITE),
        ImageOps.expand(photograph(), 4, WHITE),
        ImageOps.expand(photograph(), 60, GREY),
        ImageOps.expand(photograph().crop((0, 20, FRAME[0], 300)), 5, WHITE),
        cut_out(WHITE),
    ],
    ids=["bar", "blue bar", "bar above", "bar beside", "box", "thin mat", "mat", "mat that touches", "cut out"],
)
def test_the_disc_is_found_beside_what_is_light(frame: Image.Image) -> None:
    result = prepare_image(encoded(frame), 96)
    assert isinstance(result, Prepared), result
    assert isinstance(PLAIN, Prepared)
    assert abs(result.field_px - PLAIN.field_px) <= 0.03 * PLAIN.field_px


def test_bars_at_both_ends_make_a_cut_disc_and_not_the_whole_frame() -> None:
    frame = with_box((0, 290, *FRAME), WHITE)
    ImageDraw.Draw(frame).rectangle((0, 0, FRAME[0], 30), fill=WHITE)
    result = prepare_image(encoded(frame), 96)
    assert isinstance(result, Prepared)
    assert isinstance(PLAIN, Prepared)
    assert abs(result.field_px - PLAIN.field_px) <= 0.03 * PLAIN.field_px


def test_light_of_no_known_shape_is_rejected_with_the_reason() -> None:
    frame = Image.new("RGB", (400, 300))
    draw = ImageDraw.Draw(frame)
    draw.rectangle((10, 10, 70, 290), fill=(150, 90, 50))
    draw.rectangle((10, 230, 390, 290), fill=(150, 90, 50))
    result = prepare_image(encoded(frame), 96)
    assert isinstance(result, Rejected)
    assert result.reason is ImageRejectionReason.NO_FIELD_OF_VIEW
    assert "no disc; crop the photograph to its field of view" in result.detail


@pytest.mark.parametrize("dx", [0, 60, 90])
@pytest.mark.parametrize("dy", [20, 60])
def test_a_frame_that_cuts_the_disc_at_its_corners_is_taken_whole(dx: int, dy: int) -> None:
    cut = disc(0).crop((dx // 2, dy, 300 - dx // 2, 300 - dy))
    result = prepare_image(encoded(cut), 60)
    assert isinstance(result, Prepared)
    assert abs(result.field_px - max(cut.size)) <= 0.03 * max(cut.size)


def test_a_disc_that_is_lit_in_part_is_accepted() -> None:
    pixels = np.asarray(photograph()).copy()
    pixels[:, 290:] = 2
    result = prepare_image(encoded(Image.fromarray(pixels)), 96)
    assert isinstance(result, Prepared)
    assert 290 <= result.field_px <= 305
