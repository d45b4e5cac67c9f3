"""Vessels of a right eye: arcades of branching, tapering arteries and veins.

Each quadrant has an artery and a vein. The temporal ones leave the disc upwards or downwards and curve around the
macula; the nasal ones run out straight. Branches leave at an angle and bend back along their parent. Two orders of
branches are grown, each for all parents at once.
"""

from dataclasses import dataclass

import numpy as np

from synfundus.labels import FloatArray
from synfundus.phantom.anatomy import Anatomy
from synfundus.phantom.field import Field, Points, absorb, blend, ribbons, smoothstep, stream

NUM_STEPS = 22
ARTERY_WIDTH = 0.027
VEIN_WIDTH = 0.035
ARTERY_TRANSMISSION = (0.90, 0.56, 0.52)
VEIN_TRANSMISSION = (0.62, 0.34, 0.42)
_s = np.linspace(0.0, 1.0, NUM_STEPS)
"""Position along a vessel as a fraction of its length."""


@dataclass(frozen=True)
class Vessels:
    """Centre lines (num, NUM_STEPS, 2), headings (num, NUM_STEPS) in radians and widths (num, NUM_STEPS)."""

    points: Points
    heading: Points
    width: Points


def _grow(
    start: Points, heading: Points, length: Points, width: Points, rng: np.random.Generator, wander: float
) -> Vessels:
    num = len(start)
    order = np.array([1.0, 2.2, 4.1])[:, None]
    waves = np.sin(2.0 * np.pi * order * _s + rng.uniform(0.0, 2.0 * np.pi, (num, 3, 1)))
    waves -= waves[:, :, :1]
    heading = heading + wander * (waves / np.sqrt(order)).sum(axis=1)
    step = (length / (NUM_STEPS - 1))[:, None, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    points = start[:, None] + np.cumsum(step, axis=1) - step[:, :1]
    return Vessels(points, heading, width)


def grow_trunks(anatomy: Anatomy, rng: np.random.Generator, width: float, wander: float) -> Vessels:
    """Draw the four trunks of one kind: superior temporal, inferior temporal, superior nasal, inferior nasal."""
    vertical = np.array([-1.0, 1.0, -1.0, 1.0])
    jitter = rng.uniform(-1.0, 1.0, (4, 4))
    bow = 1.0 - np.exp(-_s / 0.2)
    temporal = 82.0 + 8.0 * jitter[:2, :1] + (80.0 + 7.0 * jitter[:2, 1:2]) * bow + (28.0 + 8.0 * jitter[:2, 2:3]) * _s
    nasal = 76.0 + 10.0 * jitter[2:, :1] - (42.0 + 14.0 * jitter[2:, 1:2]) * bow
    heading = np.radians(np.concatenate([temporal, nasal])) * vertical[:, None]
    length = np.array([1.75, 1.75, 0.9, 0.9]) * (1.0 + 0.08 * jitter[:, 3])
    calibre = width * np.array([1.0, 1.0, 0.72, 0.72]) * rng.uniform(0.92, 1.08, 4)
    start = anatomy.disc_xy + anatomy.disc_radius * np.stack(
        [0.10 + 0.06 * rng.uniform(-1.0, 1.0, 4), -0.06 * vertical], axis=1
    )
    return _grow(start, heading, length, calibre[:, None] * (1.0 - 0.62 * _s), rng, wander)


def grow_branches(parents: Vessels, rng: np.random.Generator, each: int, reach: tuple[float, float]) -> Vessels:
    """Draw `each` branches per parent, on alternating sides, `reach` times the parent's remaining length long."""
    num = len(parents.points)
    place = (np.arange(each) + rng.uniform(0.15, 0.85, (num, each))) / each
    at = np.clip((0.06 + 0.9 * place) * (NUM_STEPS - 1), 1, NUM_STEPS - 2).astype(int)
    rows = np.arange(num)[:, None]
    side = (1 - 2 * ((np.arange(each) + rng.integers(0, 2, (num, 1))) % 2)).ravel()
    span = np.linalg.norm(np.diff(parents.points, axis=1), axis=-1).sum(axis=1)[:, None]
    length = (rng.uniform(*reach, (num, each)) * span * (1.12 - at / (NUM_STEPS - 1))).ravel()
    leave, back = np.radians(rng.uniform(32.0, 58.0, num * each)), np.radians(rng.uniform(16.0, 46.0, num * each))
    heading = parents.heading[rows, at].ravel()[:, None] + side[:, None] * (
        leave[:, None] - back[:, None] * (1.0 - np.exp(-_s / 0.3))
    )
    width = (parents.width[rows, at] * rng.uniform(0.42, 0.66, (num, each))).ravel()[:, None] * (1.0 - 0.6 * _s)
    return _grow(parents.points[rows, at].reshape(-1, 2), heading, length, width, rng, 0.16)


@dataclass(frozen=True)
class VesselTree:
    """Trunks, branches and twigs of one kind."""

    trunks: Vessels
    branches: Vessels
    twigs: Vessels

    def outlines(self, trunk_scale: Points | float, beading: float) -> list[Points]:
        """Return the polygons of all vessels.

        Args:
            trunk_scale: factor on the width of the trunks, (4, 1) or a number.
            beading: relative swelling along the course.
        """
        beads = 1.0 + beading * np.sin(2.0 * np.pi * 6.5 * _s)
        return [
            ribbons(self.trunks.points, self.trunks.width * trunk_scale * beads),
            ribbons(self.branches.points, self.branches.width * beads),
            ribbons(self.twigs.points, self.twigs.width),
        ]


def grow_tree(anatomy: Anatomy, rng: np.random.Generator, width: float, wander: float) -> VesselTree:
    """Draw all vessels of one kind, from trunks to twigs."""
    trunks = grow_trunks(anatomy, rng, width * anatomy.vessel_calibre, wander)
    branches = grow_branches(trunks, rng, 5, (0.25, 0.6))
    return VesselTree(trunks, branches, grow_branches(branches, rng, 2, (0.3, 0.65)))


def grow_vessels(anatomy: Anatomy, seed: int) -> tuple[VesselTree, VesselTree]:
    """Draw the arteries and the veins of an eye."""
    arteries = grow_tree(anatomy, stream(seed, "arteries"), ARTERY_WIDTH, 0.10)
    return arteries, grow_tree(anatomy, stream(seed, "veins"), VEIN_WIDTH, 0.13)


@dataclass(frozen=True)
class VesselState:
    """Changes of the vessels by disease."""

    narrowing: float = 1.0
    """Factor on the calibre of arteries."""
    nicking: bool = False
    """Veins are interrupted at the arteries that cross them, and the reflex of the arteries is broader."""
    beading: float = 0.0
    """Relative swelling of veins along their course."""
    dilated_trunk: int | None = None
    """Number of the engorged vein trunk."""


@dataclass(frozen=True)
class VesselCoverage:
    """Share of each pixel that vessels cover, (H, W) in [0, 1]."""

    vein_HW: FloatArray
    artery_HW: FloatArray
    narrowed: VesselTree
    """Arteries at their calibre in this eye."""


def cover_vessels(
    field: Field, anatomy: Anatomy, arteries: VesselTree, veins: VesselTree, state: VesselState
) -> VesselCoverage:
    """Return the coverage of veins and arteries; there are none in the foveal avascular zone."""
    scale = np.ones((4, 1))
    if state.dilated_trunk is not None:
        scale[state.dilated_trunk] = 1.45
    narrowed = VesselTree(
        *(_scaled(group, state.narrowing) for group in (arteries.trunks, arteries.branches, arteries.twigs))
    )
    outside_fovea_HW = smoothstep((field.distance(anatomy.fovea_xy) - np.float32(0.07)) / np.float32(0.14))
    vein_HW = field.mask(veins.outlines(scale, state.beading)) * outside_fovea_HW
    if state.nicking:
        near_artery_HW = field.mask([ribbons(arteries.trunks.points, 0.075), ribbons(arteries.branches.points, 0.05)])
        vein_HW = vein_HW * (1.0 - np.float32(0.9) * near_artery_HW)
    return VesselCoverage(vein_HW, field.mask(narrowed.outlines(1.0, 0.0)) * outside_fovea_HW, narrowed)


def render_vessels(
    rgb_CHW: FloatArray, field: Field, anatomy: Anatomy, arteries: VesselTree, veins: VesselTree, state: VesselState
) -> None:
    """Render veins, then arteries over them with the reflex of each trunk."""
    coverage = cover_vessels(field, anatomy, arteries, veins, state)
    absorb(rgb_CHW, coverage.vein_HW * np.float32(anatomy.vessel_contrast), VEIN_TRANSMISSION)
    absorb(rgb_CHW, coverage.artery_HW * np.float32(anatomy.vessel_contrast), ARTERY_TRANSMISSION)
    share, strength = (0.6, 0.6) if state.nicking else (0.3, 0.35)
    trunks = coverage.narrowed.trunks
    reflex_HW = field.mask([ribbons(trunks.points[:, 1:], trunks.width[:, 1:] * share)])
    blend(rgb_CHW, reflex_HW * coverage.artery_HW * np.float32(strength), (0.95, 0.66, 0.44))


def _scaled(vessels: Vessels, factor: float) -> Vessels:
    return Vessels(vessels.points, vessels.heading, vessels.width * factor)
