"""The healthy eye: positions, pigmentation, background, optic disc, macula.

A right eye is rendered, with the optic disc, which is nasal, on the right of the image. A left eye is its mirror image.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.labels import FloatArray
from synfundus.phantom.field import Field, absorb, blend, ribbons, smoothstep, stream


@dataclass(frozen=True)
class Anatomy:
    """One eye. Lengths are in radii of the field of view (45 to 50 degrees across)."""

    disc_xy: NDArray[np.float64]
    fovea_xy: NDArray[np.float64]
    disc_radius: float
    disc_aspect: float
    cup_ratio: float
    pigment: float
    """Pigmentation, from 0 (fair fundus) to 1 (dark fundus)."""
    tint: NDArray[np.float64]
    """Hue of the fundus: factors on red, green and blue."""
    tessellation: float
    """Visibility of the choroidal vessels, 0 to 1."""
    vessel_calibre: float
    vessel_contrast: float


def draw_anatomy(patient_seed: int, seed: int) -> Anatomy:
    """Draw the anatomy of one eye.

    Both eyes of a patient share pigmentation, calibres, disc and cup size; framing and details differ.
    """
    patient, eye = stream(patient_seed, "patient"), stream(seed, "eye")
    disc_radius = patient.uniform(0.15, 0.175) * eye.uniform(0.97, 1.03)
    centre = np.array([0.18, 0.0]) + eye.uniform(-0.07, 0.07, 2)
    # The fovea lies 2.5 disc diameters temporal of the disc and a little below it.
    to_fovea = 5.0 * disc_radius * patient.uniform(0.92, 1.04)
    tilt = np.radians(patient.uniform(4.0, 9.0) + eye.uniform(-5.0, 5.0))
    offset = 0.5 * to_fovea * np.array([np.cos(tilt), -np.sin(tilt)])
    return Anatomy(
        disc_xy=centre + offset,
        fovea_xy=centre - offset,
        disc_radius=disc_radius,
        disc_aspect=patient.uniform(1.04, 1.16),
        cup_ratio=float(np.clip(patient.uniform(0.22, 0.44) + eye.uniform(-0.03, 0.03), 0.2, 0.46)),
        pigment=float(np.clip(patient.beta(1.6, 1.8) + eye.uniform(-0.04, 0.04), 0.0, 1.0)),
        tint=np.array([1.0, patient.uniform(0.86, 1.14), patient.uniform(0.7, 1.3)]),
        tessellation=patient.uniform(0.0, 0.22),
        vessel_calibre=patient.uniform(0.93, 1.07),
        vessel_contrast=eye.uniform(0.85, 1.0),
    )


def choroid(field: Field, rng: np.random.Generator) -> FloatArray:
    """Return the mask of choroidal vessels, 0 to 1: broad wavy bands that fan out from the pole, with dark gaps."""
    num, steps = 210, np.linspace(0.0, 1.0, 12)
    start = np.sqrt(rng.uniform(0.0, 1.0, (num, 1))) * 0.85
    around = rng.uniform(0.0, 2.0 * np.pi, (num, 1))
    outward = np.arctan2(0.8 * np.sin(around), np.cos(around))
    wave = np.sin(2.0 * np.pi * (rng.uniform(0.8, 1.6, (num, 1)) * steps + rng.uniform(0.0, 1.0, (num, 1))))
    heading = outward + rng.normal(0.0, 0.45, (num, 1)) + 0.55 * wave
    stride = rng.uniform(0.35, 0.8, (num, 1, 1)) / len(steps) * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    origin = start * np.concatenate([np.cos(around), np.sin(around)], axis=1) - np.array([0.05, 0.0])
    bands = origin[:, None] + np.cumsum(stride, axis=1) - 0.3 * stride.sum(axis=1, keepdims=True)
    width = rng.uniform(0.022, 0.042, (num, 1)) * (1.0 - 0.4 * steps)
    return field.mask([ribbons(bands, width)], 0.011)


def render_background(field: Field, anatomy: Anatomy, rng: np.random.Generator, choroid_HW: FloatArray) -> FloatArray:
    """Render retinal pigment over choroid: base colour, mottling, choroidal vessels, the darker macula."""
    fair, dark = np.array([0.90, 0.50, 0.27]), np.array([0.58, 0.25, 0.11])
    base = fair + (dark - fair) * anatomy.pigment
    base = base * anatomy.tint * (1.0 + rng.uniform(-0.03, 0.03, 3))
    rgb_CHW = np.repeat(base.astype(np.float32)[:, None, None], field.size_px, axis=1).repeat(field.size_px, axis=2)
    mottling = np.float32(0.030) * field.noise(rng, 7) + np.float32(0.022) * field.noise(rng, 26)
    mottling += np.float32(0.018) * field.noise(rng, 90)
    rgb_CHW *= 1.0 + mottling
    show = anatomy.tessellation * smoothstep((field.distance(anatomy.fovea_xy) - 0.1) / np.float32(0.5))
    blend(rgb_CHW, choroid_HW * show * np.float32(0.7), tuple(np.clip(base * (1.22, 1.25, 1.15), 0.0, 1.0)))
    absorb(rgb_CHW, (1.0 - choroid_HW) * show * np.float32(0.8), (0.80, 0.68, 0.62))
    macula = np.square(field.distance(anatomy.fovea_xy))
    absorb(rgb_CHW, np.exp(-macula / np.float32(2 * 0.17**2)), (0.83, 0.70, 0.66))
    absorb(rgb_CHW, np.exp(-macula / np.float32(2 * 0.05**2)), (0.82, 0.74, 0.72))
    return rgb_CHW


CUP_ASPECT = 1.05
"""Height over width of the cup, relative to that of the disc."""


@dataclass(frozen=True)
class DiscState:
    """Changes of the optic disc by disease."""

    cup_ratio: float
    """Cup-to-disc ratio of diameters."""
    pale: bool = False
    """Optic atrophy: a rim without colour."""
    swollen: bool = False
    """Oedema: a larger disc without cup, with a blurred, bleeding margin."""

    @property
    def growth(self) -> float:
        """Factor on the radius of the disc."""
        return 1.35 if self.swollen else 1.0


def render_disc(
    rgb_CHW: FloatArray, field: Field, anatomy: Anatomy, rng: np.random.Generator, state: DiscState
) -> None:
    """Render the optic disc: a rim, redder on the nasal side, and a paler cup a little to the temporal side."""
    radius = anatomy.disc_radius * state.growth
    distance_HW = field.distance(anatomy.disc_xy, anatomy.disc_aspect)
    rim = (0.94, 0.90, 0.80) if state.pale else (0.98, 0.68, 0.48) if state.swollen else (0.93, 0.66, 0.40)
    rim = tuple(value * scale for value, scale in zip(rim, rng.uniform(0.97, 1.03, 3), strict=True))
    halo = np.float32(0.35 if state.swollen else 0.14)
    blend(rgb_CHW, field.disc(distance_HW, radius * 1.2, 0.14) * halo, rim)
    blend(rgb_CHW, field.disc(distance_HW, radius, 0.12 if state.swollen else 0.035), rim)
    if not state.pale:
        nasal_HW = smoothstep((field.x_HW - np.float32(anatomy.disc_xy[0])) / np.float32(radius))
        absorb(rgb_CHW, field.disc(distance_HW, radius, 0.05) * nasal_HW, (0.96, 0.84, 0.80))
    if state.swollen:
        _splinters(rgb_CHW, field, anatomy.disc_xy, radius, rng)
        return
    temporal = np.array([-0.5 * (1.0 - state.cup_ratio), 0.0]) * radius * 0.45
    cup_HW = field.distance(anatomy.disc_xy + temporal, anatomy.disc_aspect * CUP_ASPECT)
    cup = (0.995, 0.98, 0.93) if state.pale else (0.99, 0.90, 0.70)
    softness = 0.03 if state.cup_ratio > 0.6 else 0.055
    blend(rgb_CHW, field.disc(cup_HW, radius * state.cup_ratio, softness), cup)
    if state.cup_ratio > 0.6:
        # The wall of a deep cup is a shaded edge, and the lamina is its grey floor.
        wall_HW = np.exp(-np.square((cup_HW - np.float32(radius * state.cup_ratio)) / np.float32(0.014)))
        absorb(rgb_CHW, wall_HW, (0.90, 0.74, 0.66))
        absorb(rgb_CHW, field.disc(cup_HW, radius * 0.45 * state.cup_ratio, 0.05), (0.90, 0.90, 0.92))


def _splinters(
    rgb_CHW: FloatArray, field: Field, centre: NDArray[np.float64], radius: float, rng: np.random.Generator
) -> None:
    """Render thin radial haemorrhages on the margin of a swollen disc."""
    num = int(rng.integers(6, 11))
    angle = rng.uniform(0.0, 2.0 * np.pi, num)
    outward = np.stack([np.cos(angle), np.sin(angle)], axis=1)[:, None]
    reach = radius * (0.85 + np.linspace(0.0, 1.0, 6) * rng.uniform(0.25, 0.55, (num, 1)))
    streaks = ribbons(centre + reach[..., None] * outward, rng.uniform(0.012, 0.022, (num, 1)))
    absorb(rgb_CHW, field.mask([streaks], 0.003), (0.55, 0.28, 0.32))
