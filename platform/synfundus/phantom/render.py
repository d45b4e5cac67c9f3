"""The phantom: a procedural renderer of fundus photographs, the embedded data of demo and tests.

Every one of the 16 labels shows where an ophthalmologist looks for it, so that a classifier can learn all of them and a
generator can be asked for each; docs/phantom.md shows sheets and says what small pictures lose. No photograph of a
person went into it.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Setting

from synfundus.config import Config
from synfundus.errors import WrongInputError
from synfundus.labels import DISEASES, LABEL_BY_NAME, LABEL_NAMES, READABILITY, LabelRow, apply_rules, require_known
from synfundus.phantom.anatomy import Anatomy, choroid, draw_anatomy, draw_background, draw_disc
from synfundus.phantom.field import Field, FloatArray, absorb, blend, field_of, smoothstep, stream
from synfundus.phantom.findings import disc_state, draw_choroidal, draw_retinal, vessel_state
from synfundus.phantom.nonfundus import draw_nonfundus
from synfundus.phantom.vessels import ARTERY_WIDTH, VEIN_WIDTH, draw_vessels, grow_tree

DISEASE_SHARE = 0.2
"""Share of eyes with each disease flag in `draw_labels`."""
GRADE_SHARES = (0.28, 0.18, 0.18, 0.18, 0.18)
UNREADABLE_SHARE = 0.11
NOT_FUNDUS_SHARE = 0.07
JUDGED_IN = {
    "is_macular_readable": ("is_amd", "is_dme", "is_em"),
    "is_optic_disc_readable": ("is_aon", "is_gc", "is_pm"),
    "is_retinal_region_readable": ("dr_grade", "is_crp", "is_dm", "is_htr", "is_rvo"),
}
"""The region that must be readable for a disease to be judged."""


class PhantomConfig(Config):
    """A set of phantoms."""

    num_images: int = Setting(default=2000, ge=1)
    """How many pictures."""
    size_px: int = Setting(default=64, ge=32, le=512)
    """Side of the square picture."""
    seed: int = Setting(default=0, ge=0)
    """Another seed is another set of eyes."""
    null_fraction: float = Setting(default=0.0, ge=0.0, lt=1.0)
    """Share of labels that are hidden (null), so that there is something to fill."""
    images_per_patient: int = Setting(default=2, ge=1)
    """Pictures of one patient, right and left eye in turn."""


class PhantomRecord(NamedTuple):
    """One picture of a set."""

    image_HWC: NDArray[np.uint8]
    """RGB, (size_px, size_px, 3)."""
    labels: dict[str, int | None]
    """All 16, null where hidden or where the question does not arise."""
    patient_id: str


def draw_labels(seed: int) -> dict[str, int | None]:
    """A random row of labels, each common enough to learn and nearly independent of the others.

    A disease is null where its region (`JUDGED_IN`) is not readable, as a grader leaves it; rules apply.
    """
    rng = stream(seed, "labels")
    row: dict[str, int | None] = {name: int(rng.uniform() < DISEASE_SHARE) for name in DISEASES}
    row["dr_grade"] = int(rng.choice(5, p=GRADE_SHARES))
    row["eye_side"] = int(rng.integers(0, 2))
    row |= {name: int(rng.uniform() >= UNREADABLE_SHARE) for name in READABILITY}
    row["is_fundus"] = int(rng.uniform() >= NOT_FUNDUS_SHARE)
    for region, diseases in JUDGED_IN.items():
        if row[region] == 0:
            row |= dict.fromkeys(diseases)
    return apply_rules(row)


def phantom_record(config: PhantomConfig, index: int) -> PhantomRecord:
    """Picture `index` of a set: a pure function of both. Both eyes of a patient share their anatomy's traits.

    Raises:
        IndexError: `index` is not below `num_images`.
    """
    seed, labels = _drawn_labels(config, index)
    patient = index // config.images_per_patient
    patient_seed = int(stream(config.seed, f"patient {patient}").integers(2**53))
    image_HWC = render(labels, seed, config.size_px, patient_seed=patient_seed)
    return PhantomRecord(image_HWC, *phantom_labels(config, index))


def phantom_labels(config: PhantomConfig, index: int) -> tuple[dict[str, int | None], str]:
    """Labels and patient of picture `index` as in `phantom_record`, without drawing it.

    Raises:
        IndexError: `index` is not below `num_images`.
    """
    seed, labels = _drawn_labels(config, index)
    hidden = stream(seed, "hidden").uniform(size=len(LABEL_NAMES)) < config.null_fraction
    shown = {name: None if hide else labels[name] for name, hide in zip(LABEL_NAMES, hidden, strict=True)}
    return shown, f"phantom-{index // config.images_per_patient:06d}"


def _drawn_labels(config: PhantomConfig, index: int) -> tuple[int, dict[str, int | None]]:
    """Seed of picture `index`, and all its labels, the hidden ones too."""
    if not 0 <= index < config.num_images:
        raise IndexError(f"index {index} of {config.num_images} phantoms")
    seed = int(stream(config.seed, f"image {index}").integers(2**53))
    labels = draw_labels(seed)
    if config.images_per_patient > 1 and labels["eye_side"] is not None:
        labels["eye_side"] = index % config.images_per_patient % 2
    return seed, labels


def render(
    labels: LabelRow,
    seed: int,
    size_px: int,
    *,
    undrawn: Collection[str] = (),
    patient_seed: int | None = None,
) -> NDArray[np.uint8]:
    """The picture of a row of labels: a pure function of the arguments, the same scene at every size.

    A null label is drawn as its default: no disease, readable, a fundus; a null `eye_side` is drawn by the seed.

    Args:
        labels: values by name; missing ones are null.
        seed: anatomy and details, >= 0.
        size_px: side, 32 to 512.
        undrawn: labels whose finding is left out: drawn as if null. Leaving out `is_fundus` draws a readable, healthy
            fundus where the row says that it is none, for by the rules nothing else follows from that row.
        patient_seed: eyes of one value share pigmentation, calibres and sizes; `seed` if not given.

    Returns:
        RGB (size_px, size_px, 3).

    Raises:
        WrongInputError: a name that is not a label, a value out of its range, a size out of range.
    """
    state = _drawn_state(labels, seed, undrawn)
    if not 32 <= size_px <= 512:
        raise WrongInputError(f"phantom: size_px is {size_px}; choose 32 to 512")
    field = field_of(size_px)
    if state["is_fundus"]:
        anatomy = draw_anatomy(seed if patient_seed is None else patient_seed, seed)
        rgb_CHW = _draw_eye(field, anatomy, state, seed)
        _spoil_regions(rgb_CHW, field, anatomy, state, seed)
        _light(rgb_CHW, field, stream(seed, "light"))
        if state["eye_side"]:
            rgb_CHW = rgb_CHW[:, :, ::-1].copy()
        rgb_CHW *= _aperture(field, stream(seed, "camera"))
    else:
        rgb_CHW = draw_nonfundus(field, stream(seed, "not a fundus"))
    noise = stream(seed, "sensor")
    rgb_CHW += np.float32(noise.uniform(0.004, 0.010)) * noise.standard_normal((size_px, size_px), dtype=np.float32)
    return (np.clip(rgb_CHW, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8).transpose(1, 2, 0).copy()


def _drawn_state(labels: LabelRow, seed: int, undrawn: Collection[str]) -> dict[str, int]:
    """The value that is drawn for each label."""
    require_known(labels, "phantom labels")
    require_known(undrawn, "phantom undrawn")
    for name, value in labels.items():
        if value is not None and not 0 <= value <= LABEL_BY_NAME[name].max_value:
            raise WrongInputError(f"phantom labels: {name} is {value}; 0 to {LABEL_BY_NAME[name].max_value}, or null")
    row = apply_rules(labels)
    if row["is_fundus"] == 0 and "is_fundus" in undrawn:
        row = dict.fromkeys(row)
    default = dict.fromkeys(DISEASES, 0) | dict.fromkeys(READABILITY, 1)
    default["eye_side"] = int(stream(seed, "side").integers(0, 2))
    return {name: default[name] if value is None or name in undrawn else value for name, value in row.items()}


def _draw_eye(field: Field, anatomy: Anatomy, state: dict[str, int], seed: int) -> FloatArray:
    """The right eye, evenly lit: background, what lies behind the retina, disc, vessels, what lies in and on it."""
    choroid_HW = choroid(field, stream(seed, "choroid"))
    rgb_CHW = draw_background(field, anatomy, stream(seed, "background"), choroid_HW)
    draw_choroidal(rgb_CHW, field, anatomy, state, choroid_HW, seed)
    draw_disc(rgb_CHW, field, anatomy, stream(seed, "disc"), disc_state(state, anatomy, seed))
    arteries = grow_tree(anatomy, stream(seed, "arteries"), ARTERY_WIDTH, 0.10)
    veins = grow_tree(anatomy, stream(seed, "veins"), VEIN_WIDTH, 0.13)
    draw_vessels(rgb_CHW, field, anatomy, arteries, veins, vessel_state(state, seed))
    draw_retinal(rgb_CHW, field, anatomy, state, veins, seed)
    return rgb_CHW


def _light(rgb_CHW: FloatArray, field: Field, rng: np.random.Generator) -> None:
    """Exposure, a tilted beam, vignetting, and the little haze that every lens has."""
    angle, tilt = rng.uniform(0.0, 2.0 * np.pi), np.float32(rng.uniform(0.03, 0.14))
    slope_HW = field.x_HW * np.float32(np.cos(angle)) + field.y_HW * np.float32(np.sin(angle))
    vignette = np.float32(rng.uniform(0.2, 0.38))
    light_HW = (1.0 + tilt * slope_HW) * (1.0 - vignette * np.square(field.radius_HW) * field.radius_HW)
    rgb_CHW *= np.float32(rng.uniform(0.9, 1.06)) * light_HW
    haze = np.float32(rng.uniform(0.0, 0.06))
    blend(rgb_CHW, np.broadcast_to(haze, field.x_HW.shape), (0.80, 0.62, 0.45))


def _spoil_regions(rgb_CHW: FloatArray, field: Field, anatomy: Anatomy, state: dict[str, int], seed: int) -> None:
    """Blur, then haze, shadow or glare over each region that is not readable; their borders are ragged and wide."""
    lost = [name for name in JUDGED_IN if not state[name]]
    if not lost:
        return
    ragged_HW = np.float32(0.07) * field.noise(stream(seed, "ragged"), 5)
    macula_HW = smoothstep((np.float32(0.50) - field.distance(anatomy.fovea_xy) + ragged_HW) / np.float32(0.34))
    disc_HW = smoothstep((np.float32(0.46) - field.distance(anatomy.disc_xy) + ragged_HW) / np.float32(0.34))
    regions = {
        "is_macular_readable": macula_HW,
        "is_optic_disc_readable": disc_HW,
        "is_retinal_region_readable": (1.0 - macula_HW) * (1.0 - disc_HW),
    }
    blurred_CHW = np.stack([field.soften(channel_HW, 9) for channel_HW in rgb_CHW])
    for name in lost:
        rng = stream(seed, name)
        cloud_HW = regions[name] * np.clip(1.0 + np.float32(0.12) * field.noise(rng, 6), 0.7, 1.15)
        rgb_CHW += np.minimum(cloud_HW, 1.0) * np.float32(0.95) * (blurred_CHW - rgb_CHW)
        kind = int(rng.integers(0, 3))
        if kind == 0:
            blend(rgb_CHW, cloud_HW * np.float32(rng.uniform(0.42, 0.58)), (0.72, 0.66, 0.60))
        elif kind == 1:
            absorb(rgb_CHW, np.minimum(cloud_HW, 1.0), tuple(rng.uniform(0.22, 0.36) * np.array([1.0, 0.8, 0.7])))
        else:
            blend(rgb_CHW, cloud_HW * np.float32(rng.uniform(0.55, 0.7)), (1.0, 0.92, 0.76))


def _aperture(field: Field, rng: np.random.Generator) -> FloatArray:
    """1 in the field of view, 0 on the black round it; some cameras cut its top and bottom."""
    inside_HW = field.disc(field.radius_HW, rng.uniform(0.965, 0.99), 0.012)
    if rng.uniform() < 0.25:
        inside_HW = inside_HW * field.disc(np.abs(field.y_HW), rng.uniform(0.8, 0.92), 0.012)
    return inside_HW
