"""Render a phantom from a row of labels. Phantoms are the embedded data of demo and tests.

Each of the 16 labels is visible where an ophthalmologist looks for it, so that a classifier can learn it and a
generator can be conditioned on it. No photograph of a person went into the renderer. `docs/phantom.md` shows examples
and the limits of small sizes.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from synfundus.errors import WrongInputError
from synfundus.labels import (
    DISEASES,
    READABILITY,
    FloatArray,
    LabelRow,
    apply_rules,
    require_in_range,
    require_known,
)
from synfundus.phantom.anatomy import Anatomy, choroid, draw_anatomy, render_background, render_disc
from synfundus.phantom.field import Field, absorb, blend, field_of, smoothstep, stream
from synfundus.phantom.findings import disc_state, render_choroidal, render_retinal, vessel_state
from synfundus.phantom.labels import JUDGED_IN
from synfundus.phantom.nonfundus import render_nonfundus
from synfundus.phantom.vessels import grow_vessels, render_vessels


def render(
    labels: LabelRow,
    seed: int,
    size_px: int,
    *,
    omit: Collection[str] = (),
    patient_seed: int | None = None,
) -> NDArray[np.uint8]:
    """Render the image of a row of labels: a pure function of the arguments, the same scene at every size.

    A null label is rendered as its default: no disease, readable, a fundus. A null `eye_side` is drawn from the seed.

    Args:
        labels: values by name; missing ones are null.
        seed: seed of anatomy and details, >= 0.
        size_px: side in pixels, 32 to 512.
        omit: labels whose finding is omitted, that is, rendered as if null. If the row is not a fundus, omitting
            `is_fundus` renders a readable, healthy fundus: the rules leave nothing else in such a row.
        patient_seed: seed of pigmentation, calibres and sizes, which both eyes of a patient share; default: `seed`.

    Returns:
        RGB (size_px, size_px, 3).

    Raises:
        WrongInputError: a name that is not a label, a value out of its range, a size out of range.
    """
    state = rendered_state(labels, seed, omit)
    if not 32 <= size_px <= 512:
        raise WrongInputError(f"phantom: size_px is {size_px}; choose 32 to 512")
    field = field_of(size_px)
    if state["is_fundus"]:
        rgb_CHW = _render_fundus(field, state, seed, seed if patient_seed is None else patient_seed)
    else:
        rgb_CHW = render_nonfundus(field, stream(seed, "not a fundus"))
    noise = stream(seed, "sensor")
    rgb_CHW += np.float32(noise.uniform(0.004, 0.010)) * noise.standard_normal((size_px, size_px), dtype=np.float32)
    return (np.clip(rgb_CHW, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8).transpose(1, 2, 0).copy()


def rendered_state(labels: LabelRow, seed: int, omit: Collection[str]) -> dict[str, int]:
    """Return the value that is rendered for each label."""
    require_known(labels, "phantom labels")
    require_known(omit, "phantom omit")
    require_in_range(labels.items(), "phantom labels")
    row = apply_rules(labels)
    if row["is_fundus"] == 0 and "is_fundus" in omit:
        row = dict.fromkeys(row)
    default = dict.fromkeys(DISEASES, 0) | dict.fromkeys(READABILITY, 1)
    default["eye_side"] = int(stream(seed, "side").integers(0, 2))
    return {name: default[name] if value is None or name in omit else value for name, value in row.items()}


def _render_fundus(field: Field, state: dict[str, int], seed: int, patient_seed: int) -> FloatArray:
    """Render a photograph of an eye: the eye, unreadable regions, light, side, aperture."""
    anatomy = draw_anatomy(patient_seed, seed)
    rgb_CHW = _render_eye(field, anatomy, state, seed)
    _spoil_regions(rgb_CHW, field, anatomy, state, seed)
    _light(rgb_CHW, field, stream(seed, "light"))
    if state["eye_side"]:
        rgb_CHW = rgb_CHW[:, :, ::-1].copy()
    rgb_CHW *= aperture(field, stream(seed, "camera"))
    return rgb_CHW


def _render_eye(field: Field, anatomy: Anatomy, state: dict[str, int], seed: int) -> FloatArray:
    """Render the right eye, evenly lit: background, choroidal findings, disc, vessels, retinal findings."""
    choroid_HW = choroid(field, stream(seed, "choroid"))
    rgb_CHW = render_background(field, anatomy, stream(seed, "background"), choroid_HW)
    render_choroidal(rgb_CHW, field, anatomy, state, choroid_HW, seed)
    render_disc(rgb_CHW, field, anatomy, stream(seed, "disc"), disc_state(state, anatomy, seed))
    arteries, veins = grow_vessels(anatomy, seed)
    render_vessels(rgb_CHW, field, anatomy, arteries, veins, vessel_state(state, seed))
    render_retinal(rgb_CHW, field, anatomy, state, veins, seed)
    return rgb_CHW


def _light(rgb_CHW: FloatArray, field: Field, rng: np.random.Generator) -> None:
    """Apply exposure, a tilted beam, vignetting and slight haze of the lens."""
    angle, tilt = rng.uniform(0.0, 2.0 * np.pi), np.float32(rng.uniform(0.03, 0.14))
    slope_HW = field.x_HW * np.float32(np.cos(angle)) + field.y_HW * np.float32(np.sin(angle))
    vignette = np.float32(rng.uniform(0.2, 0.38))
    light_HW = (1.0 + tilt * slope_HW) * (1.0 - vignette * np.square(field.radius_HW) * field.radius_HW)
    rgb_CHW *= np.float32(rng.uniform(0.9, 1.06)) * light_HW
    haze = np.float32(rng.uniform(0.0, 0.06))
    blend(rgb_CHW, np.broadcast_to(haze, field.x_HW.shape), (0.80, 0.62, 0.45))


def _spoil_regions(rgb_CHW: FloatArray, field: Field, anatomy: Anatomy, state: dict[str, int], seed: int) -> None:
    """Blur each unreadable region, then cover it with haze, shadow or glare; borders are ragged and wide."""
    unreadable = [name for name in JUDGED_IN if not state[name]]
    if not unreadable:
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
    for name in unreadable:
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


def aperture(field: Field, rng: np.random.Generator) -> FloatArray:
    """Return 1 in the field of view and 0 on the black around it; some cameras cut its top and bottom."""
    inside_HW = field.disc(field.radius_HW, rng.uniform(0.965, 0.99), 0.012)
    if rng.uniform() < 0.25:
        inside_HW = inside_HW * field.disc(np.abs(field.y_HW), rng.uniform(0.8, 0.92), 0.012)
    return inside_HW
