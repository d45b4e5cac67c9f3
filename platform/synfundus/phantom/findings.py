"""Findings: the changes that each disease label makes to a (right) eye.

`render_choroidal` runs before disc and vessels are rendered, `render_retinal` after. `vessel_state` and `disc_state`
give the changes of those two. Each finding has its own random stream, so omitting one changes no other.
"""

from collections.abc import Mapping

import numpy as np

from synfundus.labels import FloatArray
from synfundus.phantom.anatomy import Anatomy, DiscState
from synfundus.phantom.field import Field, Points, absorb, blend, blobs, ribbons, smoothstep, stream
from synfundus.phantom.vessels import Vessels, VesselState, VesselTree

State = Mapping[str, int]
"""All 16 labels, none of them null."""

BLOOD = (0.50, 0.22, 0.26)
ATROPHY = (0.95, 0.88, 0.64)
EXUDATE = (1.0, 0.95, 0.58)
COTTON_WOOL = (0.97, 0.92, 0.80)
DRUSEN = (0.98, 0.84, 0.46)
STEPS = np.linspace(0.0, 1.0, 24)


def vessel_state(state: State, seed: int) -> VesselState:
    """Return the changes of the vessels.

    Hypertension narrows arteries and nicks veins, a DR grade from 3 on beads veins, an occlusion engorges its vein.
    """
    return VesselState(
        narrowing=0.48 if state["is_htr"] else 1.0,
        nicking=bool(state["is_htr"]),
        beading=0.42 if state["dr_grade"] >= 3 else 0.0,
        dilated_trunk=occluded_trunk(seed) if state["is_rvo"] else None,
    )


def disc_state(state: State, anatomy: Anatomy, seed: int) -> DiscState:
    """Return the changes of the disc.

    Glaucoma enlarges the cup. An anomaly is a pale disc, or a swollen one, which would hide a large cup.
    """
    rng = stream(seed, "disc_state")
    large_cup, swollen = rng.uniform(0.72, 0.86), rng.uniform() < 0.4
    anomalous = bool(state["is_aon"])
    return DiscState(
        cup_ratio=large_cup if state["is_gc"] else anatomy.cup_ratio,
        pale=anomalous and (bool(state["is_gc"]) or not swollen),
        swollen=anomalous and swollen and not state["is_gc"],
    )


def occluded_trunk(seed: int) -> int:
    """Draw the vein trunk of an occlusion: superior (0) or inferior (1) temporal, as in most patients."""
    return int(stream(seed, "is_rvo trunk").integers(0, 2))


def _scatter(
    rng: np.random.Generator, anatomy: Anatomy, num: int, macula: float = 0.2, disc: float = 0.28, edge: float = 0.86
) -> Points:
    """Draw `num` positions in the field, none nearer than `macula` to the fovea or `disc` to the disc."""
    points = rng.uniform(-edge, edge, (16 * num + 64, 2))
    free = (np.hypot(*points.T) < edge) & (np.hypot(*(points - anatomy.fovea_xy).T) > macula)
    free &= np.hypot(*(points - anatomy.disc_xy).T) > disc
    return np.asarray(points[free][:num])


def render_choroidal(
    rgb_CHW: FloatArray, field: Field, anatomy: Anatomy, state: State, choroid_HW: FloatArray, seed: int
) -> None:
    """Render the findings behind the retina."""
    if state["is_dm"]:
        _tessellation(rgb_CHW, field, anatomy, choroid_HW, stream(seed, "is_dm"))
    if state["is_pm"]:
        _staphyloma(rgb_CHW, field, anatomy, stream(seed, "is_pm"))
    if state["is_crp"]:
        _atrophy(rgb_CHW, field, anatomy, choroid_HW, stream(seed, "is_crp"))
    if state["is_amd"]:
        _drusen(rgb_CHW, field, anatomy, stream(seed, "is_amd"))


def render_retinal(
    rgb_CHW: FloatArray, field: Field, anatomy: Anatomy, state: State, veins: VesselTree, seed: int
) -> None:
    """Render the findings in and on the retina."""
    if state["is_rvo"]:
        _occlusion(rgb_CHW, field, veins.trunks, occluded_trunk(seed), stream(seed, "is_rvo"))
    _retinopathy(rgb_CHW, field, anatomy, state["dr_grade"], veins, seed)
    if state["is_dme"]:
        _macular_oedema(rgb_CHW, field, anatomy, stream(seed, "is_dme"))
    if state["is_em"]:
        _membrane(rgb_CHW, field, anatomy, stream(seed, "is_em"))


def _tessellation(
    rgb_CHW: FloatArray, field: Field, anatomy: Anatomy, choroid_HW: FloatArray, rng: np.random.Generator
) -> None:
    """Degenerative myopia: choroidal vessels visible everywhere through thin pigment; lacquer cracks at the pole."""
    show = np.float32(rng.uniform(0.85, 1.0))
    blend(rgb_CHW, choroid_HW * show * np.float32(0.5), (0.95, 0.55, 0.33))
    absorb(rgb_CHW, (1.0 - choroid_HW) * show, (0.80, 0.64, 0.58))
    num = int(rng.integers(2, 5))
    start = anatomy.fovea_xy + rng.uniform(-0.28, 0.28, (num, 2))
    heading = rng.uniform(-0.7, 0.7, (num, 1)) + np.cumsum(rng.normal(0.0, 0.28, (num, 24)), axis=1)
    step = (rng.uniform(0.25, 0.45, num) / 24)[:, None, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    cracks = start[:, None] + np.cumsum(step, axis=1)
    blend(rgb_CHW, field.mask([ribbons(cracks, 0.018 * (1.0 - STEPS**4))], 0.005) * np.float32(0.8), (0.98, 0.86, 0.56))


def _staphyloma(rgb_CHW: FloatArray, field: Field, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Pathological myopia: a pale crescent with pigmented edge temporal of the disc, in an outpouched, paler pole."""
    centre = 0.5 * (anatomy.disc_xy + anatomy.fovea_xy) + rng.uniform(-0.05, 0.05, 2)
    pole_HW = field.distance(centre, 0.82) + np.float32(0.07) * field.noise(rng, 5)
    reach = np.float32(rng.uniform(0.58, 0.68))
    blend(rgb_CHW, field.disc(pole_HW, float(reach), 0.3) * np.float32(0.3), (0.96, 0.74, 0.50))
    edge_HW = np.exp(-np.square((pole_HW - reach - np.float32(0.1)) / np.float32(0.14)))
    absorb(rgb_CHW, edge_HW * smoothstep(field.noise(rng, 4) + np.float32(0.7)), (0.84, 0.74, 0.70))
    radius = anatomy.disc_radius * rng.uniform(1.45, 1.9)
    shift = np.array([-1.0, rng.uniform(-0.25, 0.25)]) * (radius - 0.8 * anatomy.disc_radius)
    crescent_HW = field.distance(anatomy.disc_xy + shift, 1.12) + np.float32(0.014) * field.noise(rng, 18)
    edge_HW = np.exp(-np.square((crescent_HW - np.float32(radius)) / np.float32(0.025)))
    absorb(rgb_CHW, edge_HW, (0.62, 0.52, 0.50))
    blend(rgb_CHW, field.disc(crescent_HW, radius, 0.03) * np.float32(0.92), ATROPHY)


def _atrophy(
    rgb_CHW: FloatArray, field: Field, anatomy: Anatomy, choroid_HW: FloatArray, rng: np.random.Generator
) -> None:
    """Choroidal atrophy: sharp pale patches away from macula and disc, pigment at the edge, vessels on the floor."""
    num = int(rng.integers(3, 6))
    centres = _scatter(rng, anatomy, num, macula=0.42, disc=0.42, edge=0.78)
    outlines = blobs(rng, centres, rng.uniform(0.09, 0.17, len(centres)), wobble=0.16, aspect=1.15)
    middle = outlines.mean(axis=1, keepdims=True)
    pigment_HW = smoothstep(field.noise(rng, 14) + np.float32(0.7))
    absorb(rgb_CHW, field.mask([middle + 1.14 * (outlines - middle)], 0.01) * pigment_HW, (0.58, 0.48, 0.46))
    patch_HW = field.mask([outlines], 0.007)
    blend(rgb_CHW, patch_HW * np.float32(0.92), ATROPHY)
    absorb(rgb_CHW, patch_HW * choroid_HW, (0.97, 0.82, 0.72))


def _drusen(rgb_CHW: FloatArray, field: Field, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Macular degeneration: soft yellow drusen, dense at the macula, and clumps of pigment."""
    num = int(rng.integers(35, 60))
    spread = rng.normal(0.0, 0.12, (num, 2))
    spread[np.hypot(*spread.T) > 0.3] *= 0.4
    blend(rgb_CHW, np.exp(-np.square(field.distance(anatomy.fovea_xy) / np.float32(0.26))) * np.float32(0.22), DRUSEN)
    soft = field.mask([blobs(rng, anatomy.fovea_xy + spread, rng.uniform(0.016, 0.038, num), 0.14)], 0.006)
    blend(rgb_CHW, soft * np.float32(0.8), DRUSEN)
    clumps = anatomy.fovea_xy + rng.normal(0.0, 0.09, (int(rng.integers(4, 10)), 2))
    absorb(
        rgb_CHW,
        field.mask([blobs(rng, clumps, rng.uniform(0.012, 0.024, len(clumps)), 0.3)], 0.005),
        (0.50, 0.45, 0.46),
    )


def _macular_oedema(rgb_CHW: FloatArray, field: Field, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Diabetic macular oedema: grey thickening that hides the fovea, ringed by small bright exudates."""
    centre = anatomy.fovea_xy + rng.uniform(-0.05, 0.05, 2)
    radius = rng.uniform(0.17, 0.23)
    distance_HW = field.distance(centre)
    blend(rgb_CHW, field.disc(distance_HW, radius, 0.14) * np.float32(0.42), (0.80, 0.60, 0.42))
    num = int(rng.integers(38, 60))
    angle = rng.uniform(0.0, 2.0 * np.pi) + rng.uniform(0.0, rng.uniform(1.3, 2.0) * np.pi, num)
    around = radius * rng.normal(1.0, 0.1, num)
    spots = centre + np.stack([around * np.cos(angle), around * np.sin(angle)], axis=1)
    size = np.clip(rng.lognormal(np.log(0.014), 0.35, num), 0.008, 0.03)
    blend(rgb_CHW, field.mask([blobs(rng, spots, size, 0.25)], 0.003) * np.float32(0.95), EXUDATE)


def _membrane(rgb_CHW: FloatArray, field: Field, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Epimacular membrane: a greyish glistening sheet over the macula, in wrinkles."""
    distance_HW = field.distance(anatomy.fovea_xy + rng.uniform(-0.06, 0.06, 2), rng.uniform(0.8, 1.1))
    sheet_HW = field.disc(distance_HW + np.float32(0.05) * field.noise(rng, 9), rng.uniform(0.28, 0.36), 0.16)
    blend(rgb_CHW, sheet_HW * (np.float32(0.30) + np.float32(0.10) * field.noise(rng, 22)), (0.86, 0.84, 0.76))
    # Folds are narrow bright lines towards the point to which the sheet contracts.
    pull = anatomy.fovea_xy + rng.choice([-1.0, 1.0], 2) * rng.uniform(0.25, 0.5, 2)
    angle_HW = np.arctan2(field.y_HW - np.float32(pull[1]), field.x_HW - np.float32(pull[0]))
    folds_HW = np.sin(angle_HW * np.float32(rng.uniform(24.0, 34.0)) + np.float32(1.1) * field.noise(rng, 9))
    visible_HW = sheet_HW * smoothstep(field.noise(rng, 11) + np.float32(0.9))
    blend(rgb_CHW, visible_HW * smoothstep(folds_HW * 2.0 - 0.9) * np.float32(0.5), (0.95, 0.94, 0.88))
    absorb(rgb_CHW, visible_HW * smoothstep(folds_HW * -2.0 - 0.6) * np.float32(0.6), (0.80, 0.72, 0.68))


def _occlusion(rgb_CHW: FloatArray, field: Field, trunks: Vessels, trunk: int, rng: np.random.Generator) -> None:
    """Branch retinal vein occlusion: flame haemorrhages along nerve fibres in the sector that one vein drains."""
    num = int(rng.integers(150, 220))
    at = (trunks.points.shape[1] * rng.uniform(0.14, 0.8, num)).astype(int)
    along = trunks.heading[trunk, at] + rng.normal(0.0, 0.2, num)
    offset = rng.normal(0.0, 0.13, num)
    normal = np.stack([-np.sin(along), np.cos(along)], axis=1)
    centres = trunks.points[trunk, at] + offset[:, None] * normal
    direction = np.stack([np.cos(along), np.sin(along)], axis=1)[:, None]
    half = (0.5 * np.clip(rng.lognormal(np.log(0.08), 0.45, num), 0.03, 0.2))[:, None, None]
    flames = centres[:, None] + half * direction * np.linspace(-1.0, 1.0, 8)[:, None]
    taper = np.sin(np.pi * np.linspace(0.04, 0.96, 8)) ** 0.7
    flame_HW = field.mask(
        [ribbons(flames, np.clip(rng.lognormal(np.log(0.018), 0.4, (num, 1)), 0.008, 0.045) * taper)], 0.003
    )
    absorb(rgb_CHW, smoothstep(field.soften(flame_HW, 12) * np.float32(1.6)) * np.float32(0.55), (0.72, 0.50, 0.52))
    absorb(rgb_CHW, flame_HW * np.float32(0.9), BLOOD)
    patches = centres[: int(rng.integers(2, 5))]
    _cotton_wool(rgb_CHW, field, patches, rng)


def _cotton_wool(rgb_CHW: FloatArray, field: Field, centres: Points, rng: np.random.Generator) -> None:
    if not len(centres):
        return
    spots_HW = field.mask([blobs(rng, centres, rng.uniform(0.035, 0.055, len(centres)), 0.28, aspect=1.3)])
    blend(rgb_CHW, np.maximum(spots_HW * np.float32(0.6), field.soften(spots_HW, 44)) * np.float32(0.85), COTTON_WOOL)


def _retinopathy(rgb_CHW: FloatArray, field: Field, anatomy: Anatomy, grade: int, veins: VesselTree, seed: int) -> None:
    """Diabetic retinopathy by grade (International Clinical scale)."""
    if grade == 0:
        return
    rng = stream(seed, "dr_grade")
    dots = _scatter(rng, anatomy, int(rng.integers(22, 38)), macula=0.1, edge=0.8)
    absorb(rgb_CHW, field.mask([blobs(rng, dots, rng.uniform(0.012, 0.017, len(dots)), 0.1)]), BLOOD)
    if grade >= 2:
        num = int(rng.integers(10, 18)) if grade == 2 else int(rng.integers(42, 62))
        blots = _scatter(rng, anatomy, num)
        absorb(rgb_CHW, field.mask([blobs(rng, blots, rng.uniform(0.02, 0.042, len(blots)), 0.14)], 0.007), BLOOD)
        clusters = _scatter(rng, anatomy, int(rng.integers(3, 6)), macula=0.36, edge=0.72)
        spots = (clusters[:, None] + rng.normal(0.0, 0.045, (len(clusters), 11, 2))).reshape(-1, 2)
        spots = spots[np.hypot(*(spots - anatomy.fovea_xy).T) > 0.3]
        size = np.clip(rng.lognormal(np.log(0.012), 0.35, len(spots)), 0.007, 0.026)
        blend(rgb_CHW, field.mask([blobs(rng, spots, size, 0.25)], 0.003) * np.float32(0.92), EXUDATE)
    if grade >= 3:
        _cotton_wool(rgb_CHW, field, _scatter(rng, anatomy, int(rng.integers(4, 8)), macula=0.3, edge=0.7), rng)
    if grade == 4:
        _proliferation(rgb_CHW, field, anatomy, veins.trunks, rng)


def _proliferation(
    rgb_CHW: FloatArray, field: Field, anatomy: Anatomy, trunks: Vessels, rng: np.random.Generator
) -> None:
    """Proliferation: tangles of fine new vessels at the disc and on an arcade; preretinal blood with a level top."""
    elsewhere = trunks.points[rng.integers(0, 2), rng.integers(7, 12)]
    roots = np.stack([anatomy.disc_xy + rng.uniform(-0.06, 0.06, 2), elsewhere])
    for root, size in zip(roots, (1.0, 0.85), strict=True):
        num = 15
        heading = rng.uniform(0.0, 2.0 * np.pi, (num, 1)) + rng.choice([-1.0, 1.0], (num, 1)) * STEPS * 3.6
        heading = heading + 0.7 * np.sin(2.0 * np.pi * (2.0 * STEPS + rng.uniform(0.0, 1.0, (num, 1))))
        step = size * rng.uniform(0.009, 0.02, (num, 1, 1)) * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
        tangle_HW = field.mask([ribbons(root + np.cumsum(step, axis=1), 0.009)])
        absorb(rgb_CHW, tangle_HW * np.float32(0.9), (0.66, 0.30, 0.34))
    if rng.uniform() < 0.85:
        width, depth = rng.uniform(0.17, 0.28), rng.uniform(0.13, 0.2)
        side = 1.0 if rng.uniform() < 0.75 else -1.0
        centre = anatomy.fovea_xy + np.array([rng.uniform(-0.1, 0.45), side * rng.uniform(0.36, 0.48)])
        angle = np.linspace(0.0, np.pi, 24)
        boat = centre + np.stack([width * np.cos(angle), depth * np.sin(angle) ** 0.8], axis=1)
        absorb(rgb_CHW, field.mask([boat[None]]), (0.46, 0.13, 0.18))
