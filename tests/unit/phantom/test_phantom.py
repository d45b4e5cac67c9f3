"""Phantoms: pure functions, the same scene at every size, each finding at the position of its label."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from synfundus.errors import WrongInputError
from synfundus.labels import DISEASES, LABEL_BY_NAME, LABEL_NAMES, READABILITY, apply_rules, encode_values
from synfundus.phantom.anatomy import Anatomy, draw_anatomy
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.field import field_of
from synfundus.phantom.labels import JUDGED_IN, draw_phantom_labels
from synfundus.phantom.records import phantom_record
from synfundus.phantom.render import render

RIGHT = {"eye_side": 0}
SEEDS = range(5)
AT_MACULA = ("is_amd", "is_dme", "is_em")
AT_DISC = ("is_aon", "is_gc")


def change(labels: dict[str, int | None], seed: int, size_px: int = 96) -> NDArray[np.float64]:
    """Return the difference of each pixel of a right eye from the healthy eye of the same seed, (H, W)."""
    healthy, ill = render(RIGHT, seed, size_px), render(RIGHT | labels, seed, size_px)
    return np.asarray(np.abs(ill.astype(float) - healthy).sum(axis=2), dtype=np.float64)


def share_within(change_HW: NDArray[np.float64], centre: NDArray[np.float64], radius: float) -> float:
    """Return the fraction of the change within `radius` of `centre`."""
    near = field_of(len(change_HW)).distance(centre) < radius
    return float(change_HW[near].sum() / change_HW.sum())


def anatomy_of(seed: int) -> Anatomy:
    return draw_anatomy(seed, seed)


def test_an_image_is_a_pure_function_of_its_arguments() -> None:
    labels = draw_phantom_labels(7)
    first = render(labels, 7, 48)
    render(draw_phantom_labels(8), 8, 48)
    assert np.array_equal(first, render(labels, 7, 48))
    assert not np.array_equal(first, render(labels, 8, 48))


@pytest.mark.parametrize("size_px", [32, 47, 128, 512])
def test_every_size_has_a_dark_surround_and_a_lit_field(size_px: int) -> None:
    image_HWC = render(RIGHT, 3, size_px)
    assert image_HWC.shape == (size_px, size_px, 3)
    assert image_HWC.dtype == np.uint8
    corners = image_HWC[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.max() < 12
    assert image_HWC[size_px // 2, size_px // 2, 0] > 60


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_is_the_same_scene_at_every_size(seed: int) -> None:
    labels = draw_phantom_labels(seed)
    large = Image.fromarray(render(labels, seed, 256)).reduce(4)
    small = render(labels, seed, 64)
    other = render(draw_phantom_labels(seed + 50), seed + 50, 64)
    difference = np.abs(np.asarray(large, float) - small).mean()
    assert difference < 3.0
    assert np.abs(np.asarray(large, float) - other).mean() > 4 * difference


@pytest.mark.parametrize("name", [*DISEASES, *READABILITY])
def test_every_label_is_visible_and_leaves_no_trace_when_omitted(name: str) -> None:
    value = 0 if name in READABILITY else 4 if name == "dr_grade" else 1
    for seed in SEEDS:
        labels = RIGHT | {name: value}
        ill, healthy = render(labels, seed, 64), render(RIGHT, seed, 64)
        assert (np.abs(ill.astype(int) - healthy).max(axis=2) > 12).sum() >= 12
        # By the rules an image that is not a fundus has no side, so the fundus in its place has the side of the seed.
        expected = render({}, seed, 64) if name == "is_fundus" else healthy
        assert np.array_equal(render(labels, seed, 64, omit={name}), expected)


def test_omitting_a_finding_does_not_change_the_others() -> None:
    both = RIGHT | {"is_rvo": 1, "is_dme": 1}
    assert np.array_equal(render(both, 1, 64, omit=["is_dme"]), render(RIGHT | {"is_rvo": 1}, 1, 64))


@pytest.mark.parametrize("name", LABEL_NAMES)
def test_a_label_omitted_with_all_that_the_rules_tie_to_it_leaves_no_trace(name: str) -> None:
    """The image is equal bit for bit for every value of the label, so a classifier can only read other labels."""
    tied = LABEL_NAMES if name == "is_fundus" else (name, *JUDGED_IN.get(name, ()))
    for seed in SEEDS:
        row = draw_phantom_labels(seed) | {"is_fundus": 1}
        images = []
        for value in range(LABEL_BY_NAME[name].max_value + 1):
            absent = dict.fromkeys(JUDGED_IN.get(name, ())) if value == 0 else {}
            images.append(render(apply_rules(row | {name: value} | absent), seed, 48, omit=tied))
        assert all(np.array_equal(images[0], other) for other in images[1:])


def test_an_omitted_side_does_not_depend_on_the_label() -> None:
    for seed in SEEDS:
        for side in (0, 1):
            image = render({"eye_side": side}, seed, 48, omit={"eye_side"})
            assert np.array_equal(image, render({}, seed, 48))


def test_null_is_rendered_healthy_and_readable() -> None:
    healthy = RIGHT | dict.fromkeys(DISEASES, 0) | dict.fromkeys(READABILITY, 1)
    assert np.array_equal(render(RIGHT, 4, 48), render(healthy, 4, 48))


def test_the_fovea_lies_two_and_a_half_disc_diameters_temporal_of_the_disc() -> None:
    for seed in range(50):
        eye = anatomy_of(seed)
        diameters = np.linalg.norm(eye.disc_xy - eye.fovea_xy) / (2 * eye.disc_radius)
        assert 2.25 < diameters < 2.65
        assert eye.fovea_xy[0] < 0 < eye.disc_xy[0]
        assert max(np.linalg.norm(eye.fovea_xy), np.linalg.norm(eye.disc_xy) + eye.disc_radius) < 0.97


@pytest.mark.parametrize("seed", SEEDS)
def test_a_left_eye_has_its_disc_on_the_left(seed: int) -> None:
    for side, sign in ((0, 1.0), (1, -1.0)):
        green = render({"eye_side": side}, seed, 64)[:, :, 1].astype(float)
        disc_xy = anatomy_of(seed).disc_xy * (sign, 1.0)
        fovea_xy = anatomy_of(seed).fovea_xy * (sign, 1.0)
        field = field_of(64)
        disc, macula = green[field.distance(disc_xy) < 0.12].mean(), green[field.distance(fovea_xy) < 0.08].mean()
        opposite = green[field.distance(disc_xy * (-1.0, 1.0)) < 0.12].mean()
        assert disc > 1.3 * opposite
        assert disc > 1.6 * macula


@pytest.mark.parametrize("name", AT_MACULA)
def test_macular_findings_lie_at_the_macula(name: str) -> None:
    for seed in SEEDS:
        assert share_within(change({name: 1}, seed), anatomy_of(seed).fovea_xy, 0.55) > 0.97


@pytest.mark.parametrize("name", AT_DISC)
def test_disc_findings_lie_at_the_disc(name: str) -> None:
    for seed in SEEDS:
        assert share_within(change({name: 1}, seed), anatomy_of(seed).disc_xy, 0.36) > 0.97


def test_choroidal_atrophy_spares_macula_and_disc() -> None:
    for seed in SEEDS:
        spots = change({"is_crp": 1}, seed)
        assert share_within(spots, anatomy_of(seed).fovea_xy, 0.15) < 0.02
        assert share_within(spots, anatomy_of(seed).disc_xy, 0.15) < 0.02


def test_vein_occlusion_affects_the_upper_or_the_lower_half() -> None:
    for seed in SEEDS:
        blood = change({"is_rvo": 1}, seed)
        upper = blood[field_of(96).y_HW < anatomy_of(seed).disc_xy[1]].sum() / blood.sum()
        assert max(upper, 1.0 - upper) > 0.8


def test_the_myopic_crescent_is_pale_and_temporal_of_the_disc() -> None:
    for seed in SEEDS:
        eye, field = anatomy_of(seed), field_of(96)
        myopic, healthy = (render(RIGHT | {"is_pm": value}, seed, 96)[:, :, 1].astype(int) for value in (1, 0))
        beside = field.distance(eye.disc_xy - (1.3 * eye.disc_radius, 0.0)) < 0.05
        assert (myopic - healthy)[beside].mean() > 40


def test_hypertension_thins_the_arteries() -> None:
    for seed in SEEDS:
        narrow, healthy = (render(RIGHT | {"is_htr": value}, seed, 256).astype(float) for value in (1, 0))
        inside = field_of(256).radius_HW < 0.9
        # Blood absorbs green most, so with less blood the green channel is lighter.
        assert (narrow - healthy)[inside][:, 1].sum() > 0


def test_glaucoma_enlarges_the_pale_cup() -> None:
    for seed in SEEDS:
        eye, field = anatomy_of(seed), field_of(256)
        glaucoma, healthy = (render(RIGHT | {"is_gc": value}, seed, 256)[:, :, 2].astype(int) for value in (1, 0))
        ring = np.abs(field.distance(eye.disc_xy, eye.disc_aspect) - 0.58 * eye.disc_radius) < 0.1 * eye.disc_radius
        assert np.median((glaucoma - healthy)[ring]) > 20


@pytest.mark.parametrize("seed", SEEDS)
def test_retinopathy_grows_with_its_grade(seed: int) -> None:
    area = [int((change({"dr_grade": grade}, seed, 128) > 25).sum()) for grade in range(5)]
    assert area[0] == 0
    assert all(low < high for low, high in pairwise(area))


@pytest.mark.parametrize("region", JUDGED_IN)
def test_an_unreadable_region_loses_detail_and_no_other_region_does(region: str) -> None:
    field = field_of(128)
    for seed in SEEDS:
        eye = anatomy_of(seed)
        regions = {
            "is_macular_readable": field.distance(eye.fovea_xy) < 0.25,
            "is_optic_disc_readable": field.distance(eye.disc_xy) < 0.2,
            "is_retinal_region_readable": (field.distance(eye.fovea_xy) > 0.6)
            & (field.distance(eye.disc_xy) > 0.6)
            & (field.radius_HW < 0.75),
        }
        readable, unreadable = (render(RIGHT | {region: value}, seed, 128)[:, :, 1].astype(float) for value in (1, 0))
        steep = [np.abs(np.gradient(np.asarray(image))).sum(axis=0) for image in (readable, unreadable)]
        if region != "is_macular_readable":  # a healthy macula has little detail to lose
            assert steep[1][regions[region]].mean() < 0.8 * steep[0][regions[region]].mean()
        changed = np.abs(unreadable - readable)
        for other, inside in regions.items():
            if other == region:
                assert changed[inside].mean() > 8
            else:
                assert changed[inside].mean() < 0.35 * changed[regions[region]].mean()


def test_not_a_fundus_has_no_disease_and_no_field_of_view() -> None:
    plain = [render({"is_fundus": 0}, seed, 48) for seed in range(40)]
    ill = [render({"is_fundus": 0, "is_rvo": 1, "eye_side": 1}, seed, 48) for seed in range(40)]
    assert all(np.array_equal(a, b) for a, b in zip(plain, ill, strict=True))
    lit_corner = [image[[0, 0, -1, -1], [0, -1, 0, -1]].max() > 25 for image in plain]
    assert np.mean(lit_corner) > 0.6


def test_labels_are_common_enough_and_nearly_independent() -> None:
    rows = [draw_phantom_labels(seed) for seed in range(4000)]
    assert all(apply_rules(row) == row for row in rows)
    share = {name: np.mean([row[name] for row in rows if row[name] is not None]) for name in LABEL_NAMES}
    for name in DISEASES[1:]:
        assert 0.15 < share[name] < 0.25
    assert 0.46 < share["eye_side"] < 0.54
    assert 0.06 < 1 - share["is_fundus"] < 0.08
    eyes = [row for row in rows if row["is_fundus"]]
    for name in JUDGED_IN:
        assert 0.095 < 1 - np.mean([row[name] for row in eyes]) < 0.125
    grades = np.bincount([row["dr_grade"] for row in eyes if row["dr_grade"] is not None]) / len(eyes)
    assert grades.min() > 0.13
    whole = [row for row in eyes if all(row[region] for region in JUDGED_IN)]
    p_BV, _ = encode_values(whole)
    independent = p_BV[:, [0, *range(4, 15)]]
    correlation = np.corrcoef(independent.T) - np.eye(independent.shape[1])
    assert np.abs(correlation).max() < 4.2 / np.sqrt(len(whole))


def test_a_disease_is_null_where_its_region_is_not_readable() -> None:
    rows = [row for row in map(draw_phantom_labels, range(400)) if row["is_fundus"]]
    for region, diseases in JUDGED_IN.items():
        for row in rows:
            assert all((row[disease] is None) == (row[region] == 0) for disease in diseases)


def test_records_are_pure_and_hiding_a_label_does_not_change_the_image() -> None:
    config = PhantomConfig(num_images=60, size_px=32, seed=5, null_fraction=0.3)
    shown = PhantomConfig(num_images=60, size_px=32, seed=5)
    records = [phantom_record(config, i) for i in range(60)]
    truth = [phantom_record(shown, i) for i in range(60)]
    hidden = total = 0
    for i, (record, true) in enumerate(zip(records, truth, strict=True)):
        assert np.array_equal(record.image_HWC, true.image_HWC)
        assert record.labels == phantom_record(config, i).labels
        for name in LABEL_NAMES:
            assert record.labels[name] in (None, true.labels[name])
            total += true.labels[name] is not None
            hidden += true.labels[name] is not None and record.labels[name] is None
    assert 0.24 < hidden / total < 0.36


def test_another_set_seed_is_another_set() -> None:
    one, two = (phantom_record(PhantomConfig(num_images=4, size_px=32, seed=seed), 1) for seed in (0, 1))
    assert not np.array_equal(one.image_HWC, two.image_HWC)


def test_the_images_of_a_patient_are_right_and_left_in_turn() -> None:
    config = PhantomConfig(num_images=40, size_px=32, seed=2)
    records = [phantom_record(config, i) for i in range(40)]
    assert [record.patient_id for record in records[::2]] == [record.patient_id for record in records[1::2]]
    assert len({record.patient_id for record in records}) == 20
    for i, record in enumerate(records):
        assert record.labels["eye_side"] == (i % 2 if record.labels["is_fundus"] else None)


def test_the_two_eyes_of_a_patient_are_alike() -> None:
    def hue(patient: int, eye: int) -> float:
        middle = render(RIGHT, 1000 * eye + patient, 32, patient_seed=patient)[8:24, 8:24].astype(float)
        return float(middle[:, :, 1].mean() / middle[:, :, 0].mean())

    pairs = np.array([[hue(patient, eye) for eye in (1, 2)] for patient in range(30)])
    assert np.corrcoef(pairs.T)[0, 1] > 0.85
    eyes = [[draw_anatomy(patient, 1000 * eye + patient) for eye in (1, 2)] for patient in range(30)]
    assert np.corrcoef(np.array([[eye.cup_ratio for eye in pair] for pair in eyes]).T)[0, 1] > 0.8
    assert all(not np.array_equal(one.disc_xy, other.disc_xy) for one, other in eyes)


@pytest.mark.parametrize(
    ("labels", "size_px", "omit", "word"),
    [
        ({"is_amb": 1}, 64, (), "is_amb"),
        ({"dr_grade": 5}, 64, (), "dr_grade is 5"),
        ({}, 16, (), "size_px is 16"),
        ({}, 64, ("is_xyz",), "is_xyz"),
    ],
)
def test_a_wrong_argument_is_named(labels: dict[str, int], size_px: int, omit: tuple[str, ...], word: str) -> None:
    with pytest.raises(WrongInputError, match=word):
        render(labels, 0, size_px, omit=omit)


def test_an_index_beyond_the_set_is_refused() -> None:
    with pytest.raises(IndexError):
        phantom_record(PhantomConfig(num_images=3), 3)
