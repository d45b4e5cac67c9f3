"""Altered copies are what their names say, and the same for the same number."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from synfundus.copies.alterations import ALTERATIONS, Placement, altered_copy, moved
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_record

IMAGE = phantom_record(PhantomConfig(num_images=1, size_px=96, seed=5), 0).image_HWC


def spot(x: int, y: int) -> NDArray[np.uint8]:
    """Return a dark image of 101 px with one bright spot of 3 px around (x, y)."""
    image = np.zeros((101, 101, 3), np.uint8)
    image[y - 1 : y + 2, x - 1 : x + 2] = 250
    return image


def place_of_spot(image: NDArray[np.uint8]) -> tuple[float, float]:
    y, x = ndimage.center_of_mass(image[:, :, 1])
    return float(x), float(y)


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        (Placement(angle_deg=90), (50, 20)),
        (Placement(zoom=1.5), (95, 50)),
        (Placement(zoom=0.5), (65, 50)),
        (Placement(right=0.1), (90.1, 50)),
        (Placement(down=-0.2), (80, 29.8)),
        (Placement(zoom=0.5, right=0.1), (75.1, 50)),
    ],
)
def test_a_spot_right_of_the_centre_moves_to_where_the_closed_form_says(
    placement: Placement, expected: tuple[float, float]
) -> None:
    assert place_of_spot(moved(spot(80, 50), placement)) == pytest.approx(expected, abs=0.6)


def test_each_kind_alters_the_image_and_keeps_its_shape() -> None:
    for kind in ALTERATIONS:
        copy = altered_copy(kind, IMAGE, 3)
        assert copy.shape == IMAGE.shape, kind
        assert copy.dtype == np.uint8, kind
        assert np.abs(copy.astype(int) - IMAGE).max() > 3, kind
        np.testing.assert_array_equal(copy, altered_copy(kind, IMAGE, 3))


def test_other_numbers_give_other_copies_where_chance_has_a_part() -> None:
    fixed = {"mirrored", "JPEG of quality 50", "enlarged by 10 %", "reduced by 10 %"}
    for kind in ALTERATIONS:
        copies = {altered_copy(kind, IMAGE, number).tobytes() for number in range(20)}
        assert (len(copies) == 1) == (kind in fixed), kind
