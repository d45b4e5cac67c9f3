"""Measures of anatomy agree with the anatomy from which phantoms are rendered, within the errors that reports state."""

from functools import cache

import numpy as np
import pytest

from support.anatomy_accuracy import Measured, measure_phantoms
from synfundus.evaluation.anatomy.errors import anatomy_error
from synfundus.evaluation.anatomy.measuring import measure_anatomy
from synfundus.measures.diversity_metrics import ANATOMY_MEASURES, AnatomyName
from synfundus.phantom.render import render

NUM_PHANTOMS = 80
measured_phantoms = cache(lambda size_px: measure_phantoms(size_px, NUM_PHANTOMS))
COLUMN = {name: column for column, name in enumerate(ANATOMY_MEASURES)}


@pytest.mark.parametrize("size_px", [64, 256])
@pytest.mark.parametrize("name", ANATOMY_MEASURES)
def test_the_stated_error_of_a_measure_is_that_on_phantoms(name: AnatomyName, size_px: int) -> None:
    measured: Measured = measured_phantoms(size_px)
    found, stated = measured.error(name, size_px), anatomy_error(name, size_px)
    assert stated is not None
    # The committed table has 240 phantoms, this test 80: a median and a correlation differ by their sampling errors.
    assert found.median_error == pytest.approx(stated.median_error, rel=0.35, abs=0.004)
    # One eye whose disc is missed decides a correlation of 40, so it may only be better than stated, or a little worse.
    assert found.rank_correlation > stated.rank_correlation - 0.25
    assert abs(found.found - stated.found) < 0.12


def test_a_mirrored_image_has_the_same_anatomy() -> None:
    images = np.stack([render({"eye_side": 0}, seed, 128) for seed in range(8)])
    original, mirrored = measure_anatomy(images), measure_anatomy(images[:, :, ::-1])
    assert original == pytest.approx(mirrored, abs=0.04, nan_ok=True)


def test_an_image_of_another_size_has_the_same_anatomy() -> None:
    small, large = (
        measure_anatomy(np.stack([render({"eye_side": 0}, seed, size_px) for seed in range(20)]))
        for size_px in (128, 384)
    )
    assert np.nanmedian(np.abs(small - large), axis=0) == pytest.approx(np.zeros(6), abs=0.05)


def test_a_large_cup_is_measured_larger() -> None:
    cups = [
        measure_anatomy(np.stack([render({"eye_side": 0, "is_gc": value}, seed, 256) for seed in range(12)]))
        for value in (0, 1)
    ]
    healthy, glaucoma = (cup[:, COLUMN["cup_to_disc"]] for cup in cups)
    assert np.nanmedian(glaucoma) > np.nanmedian(healthy) + 0.2


def test_narrow_arteries_have_a_smaller_density() -> None:
    densities = [
        measure_anatomy(np.stack([render({"eye_side": 0, "is_htr": value}, seed, 128) for seed in range(12)]))
        for value in (0, 1)
    ]
    healthy, narrow = (density[:, COLUMN["vessel_density"]] for density in densities)
    assert (narrow < healthy).mean() > 0.9


def test_an_image_without_a_disc_has_none() -> None:
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    plain = np.where((np.hypot(x, y) < 0.98)[..., None], np.array([200, 110, 60]), 0).astype(np.uint8)
    black = np.zeros_like(plain)
    found = measure_anatomy(np.stack([plain, black]))
    assert np.isnan(found[:, [COLUMN["disc_offset"], COLUMN["disc_diameter"], COLUMN["cup_to_disc"]]]).all()
    assert found[0, COLUMN["vessel_density"]] == 0.0
    assert found[0, COLUMN["field"]] == pytest.approx(0.98**2, abs=0.02)
    assert found[1, COLUMN["field"]] == 0.0


def test_no_image_has_no_row() -> None:
    assert measure_anatomy(np.zeros((0, 64, 64, 3), np.uint8)).shape == (0, 6)
