"""The stated anatomy of a phantom is what its image shows."""

import numpy as np
import pytest

from synfundus.phantom.field import field_of
from synfundus.phantom.render import render
from synfundus.phantom.sizes import DISEASE_HEADS, finding_diameter
from synfundus.phantom.truth import PhantomTruth, phantom_truth

SIZE_PX = 256


def truth_of(labels: dict[str, int | None], seed: int) -> PhantomTruth:
    truth = phantom_truth(labels, seed, SIZE_PX)
    assert truth is not None
    return truth


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_the_disc_is_bright_inside_its_radius_and_not_beyond(side: int, seed: int) -> None:
    labels: dict[str, int | None] = {"eye_side": side}
    truth, green = truth_of(labels, seed), render(labels, seed, SIZE_PX)[:, :, 1].astype(float)
    distance_HW = field_of(SIZE_PX).distance(truth.disc_xy)
    inside = np.median(green[distance_HW < 0.8 * truth.disc_radius])
    beyond = np.median(green[(distance_HW > 1.4 * truth.disc_radius) & (distance_HW < 1.8 * truth.disc_radius)])
    assert inside > 1.2 * beyond


@pytest.mark.parametrize("side", [0, 1])
def test_vessels_lie_where_the_image_is_darker_than_the_same_eye_without_them(side: int) -> None:
    labels: dict[str, int | None] = {"eye_side": side, "is_htr": 0}
    for seed in range(3):
        truth, green = truth_of(labels, seed), render(labels, seed, SIZE_PX)[:, :, 1].astype(float)
        inner_HW = field_of(SIZE_PX).radius_HW < 0.85
        on, off = inner_HW & (truth.vessel_HW > 0.9), inner_HW & (truth.vessel_HW == 0.0)
        assert np.median(green[on]) < 0.8 * np.median(green[off])


def test_glaucoma_has_a_larger_cup_and_a_swollen_disc_none() -> None:
    healthy, glaucoma = truth_of({"eye_side": 0}, 2), truth_of({"eye_side": 0, "is_gc": 1}, 2)
    assert healthy.cup_to_disc is not None
    assert glaucoma.cup_to_disc is not None
    assert healthy.cup_to_disc < 0.5 < 0.7 < glaucoma.cup_to_disc
    anomalous = [truth_of({"eye_side": 0, "is_aon": 1}, seed) for seed in range(12)]
    swollen = [truth for truth in anomalous if truth.cup_to_disc is None]
    assert 0 < len(swollen) < 12
    largest_healthy = max(truth_of({"eye_side": 0}, seed).disc_radius for seed in range(12))
    assert min(truth.disc_radius for truth in swollen) > largest_healthy


@pytest.mark.parametrize("seed", range(6))
def test_the_field_is_the_lit_region(seed: int) -> None:
    truth, image = truth_of({"eye_side": 0}, seed), render({"eye_side": 0}, seed, SIZE_PX)
    lit_HW = image.max(axis=2) > 45
    assert (lit_HW == truth.field_HW).mean() > 0.97


def test_an_image_that_is_no_fundus_has_no_anatomy() -> None:
    assert phantom_truth({"is_fundus": 0}, 3, 64) is None


def test_marks_of_findings_have_the_size_at_which_they_are_rendered() -> None:
    # Twice the mean radius in `findings`, over the two radii of the field: 0.0145, and 0.031 or more for merged blots.
    assert finding_diameter("dr_grade>=1") == pytest.approx(0.0145, rel=0.35)
    assert 0.025 < finding_diameter("dr_grade>=2") < 0.06
    assert 0.08 < finding_diameter("is_crp") < 0.25
    assert finding_diameter("dr_grade>=1") == min(map(finding_diameter, DISEASE_HEADS))
