"""Images that are not a fundus, for `is_fundus` = 0: six kinds that occur among fundus photographs."""

from collections.abc import Callable

import numpy as np

from synfundus.labels import FloatArray
from synfundus.phantom.field import Field, absorb, blend, ribbons, smoothstep


def _plain(field: Field, colour: tuple[float, ...]) -> FloatArray:
    canvas = np.asarray(colour, np.float32)[:, None, None]
    return np.broadcast_to(canvas, (3, field.size_px, field.size_px)).copy()


def _iris(rgb_CHW: FloatArray, field: Field, rng: np.random.Generator, centre: tuple[float, float], r: float) -> None:
    """Render an iris with radial fibres, limbus, pupil and the reflection of the lamp."""
    tint = ((0.36, 0.22, 0.12), (0.30, 0.42, 0.52), (0.34, 0.40, 0.24))[int(rng.integers(0, 3))]
    distance_HW = field.distance(centre)
    angle_HW = np.arctan2(field.y_HW - np.float32(centre[1]), field.x_HW - np.float32(centre[0]))
    blend(rgb_CHW, field.disc(distance_HW, 1.06 * r, 0.06 * r), (0.16, 0.13, 0.12))
    blend(rgb_CHW, field.disc(distance_HW, r, 0.08 * r), tint)
    fibres_HW = np.sin(angle_HW * int(rng.integers(24, 40)) + 2.0 * field.noise(rng, 6)) * np.float32(0.5) + np.float32(
        0.5
    )
    absorb(rgb_CHW, field.disc(distance_HW, r, 0.08 * r) * fibres_HW, (0.7, 0.7, 0.7))
    blend(rgb_CHW, field.disc(distance_HW, r * rng.uniform(0.3, 0.5), 0.03), (0.03, 0.02, 0.02))
    lamp = field.distance((centre[0] + 0.25 * r, centre[1] - 0.28 * r))
    blend(rgb_CHW, field.disc(lamp, 0.13 * r, 0.04), (1.0, 1.0, 0.97))


def external_eye(field: Field, rng: np.random.Generator) -> FloatArray:
    """Render the eye from outside: lids, lashes, sclera, iris."""
    skin = np.array([0.87, 0.66, 0.54]) * rng.uniform(0.55, 1.0)
    rgb_CHW = _plain(field, tuple(skin))
    rgb_CHW *= 1.0 + np.float32(0.05) * field.noise(rng, 12)
    shift = rng.uniform(-0.12, 0.12, 2)
    x = np.linspace(-0.85, 0.85, 24)
    upper = np.stack([x, -0.46 * (1.0 - (x / 0.85) ** 2)], axis=1) + shift
    lower = np.stack([x, 0.34 * (1.0 - (x / 0.85) ** 2)], axis=1) + shift
    opening_HW = field.mask([np.concatenate([upper, lower[::-1]])[None]])
    eye_CHW = _plain(field, (0.90, 0.87, 0.84))
    eye_CHW *= 1.0 - np.float32(0.25) * np.square(field.radius_HW)
    _iris(eye_CHW, field, rng, (float(shift[0] + rng.uniform(-0.15, 0.15)), float(shift[1] - 0.03)), 0.36)
    rgb_CHW += opening_HW * (eye_CHW - rgb_CHW)
    absorb(rgb_CHW, field.mask([ribbons(upper[None], 0.05), ribbons(lower[None], 0.02)]), (0.35, 0.28, 0.26))
    lashes = (
        upper[2:-2, None]
        + np.linspace(0.0, 1.0, 5)[:, None] * np.stack([0.18 * x[2:-2], 0 * x[2:-2] - 0.2], 1)[:, None]
    )
    absorb(rgb_CHW, field.mask([ribbons(lashes, 0.018)]), (0.25, 0.2, 0.2))
    return rgb_CHW


def anterior_segment(field: Field, rng: np.random.Generator) -> FloatArray:
    """Render a slit-lamp view: an iris that fills the frame, and a bright beam across the cornea."""
    rgb_CHW = _plain(field, (0.20, 0.13, 0.11))
    centre = (float(rng.uniform(-0.15, 0.15)), float(rng.uniform(-0.15, 0.15)))
    blend(rgb_CHW, field.disc(field.distance(centre), 1.25, 0.3), (0.62, 0.50, 0.46))
    _iris(rgb_CHW, field, rng, centre, float(rng.uniform(0.62, 0.8)))
    beam_HW = field.x_HW - np.float32(rng.uniform(-0.45, 0.45)) + np.float32(0.12) * np.square(field.y_HW)
    blend(rgb_CHW, np.exp(-np.square(beam_HW / np.float32(0.055))) * np.float32(0.85), (0.86, 0.93, 1.0))
    return rgb_CHW


def blank_frame(field: Field, rng: np.random.Generator) -> FloatArray:
    """Render a lens cap, closed shutter or overexposed frame: one grey level, slightly uneven."""
    grey = float(rng.choice([rng.uniform(0.01, 0.08), rng.uniform(0.35, 0.6), rng.uniform(0.9, 1.0)]))
    rgb_CHW = _plain(field, (grey, grey, grey))
    return rgb_CHW * (1.0 + np.float32(0.03) * field.noise(rng, 3))


def text_card(field: Field, rng: np.random.Generator) -> FloatArray:
    """Render a patient card or report page: dark lines of words on paper."""
    rgb_CHW = _plain(field, tuple(rng.uniform(0.86, 1.0) * np.array([1.0, 0.99, 0.95])))
    words = []
    height = rng.uniform(0.05, 0.08)
    for y in np.arange(-0.82, 0.85, 2.3 * height):
        x, end = -0.85, rng.uniform(0.2, 0.9)
        while x < end:
            width = rng.uniform(0.08, 0.3)
            words.append([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
            x += width + 0.05
    absorb(rgb_CHW, field.mask([np.array(words)]), (0.15, 0.16, 0.22))
    return rgb_CHW


def colour_gradient(field: Field, rng: np.random.Generator) -> FloatArray:
    """Render a test pattern or a defocused wall: a colour gradient over the whole square."""
    corners = rng.uniform(0.1, 0.95, (3, 2, 2)).astype(np.float32)
    return np.stack([field.enlarge(corner) for corner in corners])


def tomogram(field: Field, rng: np.random.Generator) -> FloatArray:
    """Render an OCT cross-section, which cameras export with the photograph: grey speckled layers on black."""
    bend_HW = np.float32(rng.uniform(-0.15, 0.15)) * np.square(field.x_HW)
    pit_HW = np.float32(0.13) * np.exp(-np.square((field.x_HW - np.float32(rng.uniform(-0.2, 0.2))) / np.float32(0.2)))
    depth_HW = field.y_HW - np.float32(rng.uniform(-0.1, 0.1)) - bend_HW
    grey_HW = np.full_like(depth_HW, 0.05)
    for top, bottom, level in ((-0.25, -0.17, 0.75), (-0.17, 0.02, 0.42), (0.02, 0.1, 0.3), (0.1, 0.17, 0.92)):
        upper_HW = depth_HW - np.float32(top) - (pit_HW if top < 0.0 else np.float32(0.0))
        lower_HW = np.float32(bottom) - depth_HW
        edge = np.float32(0.03)
        grey_HW = grey_HW + smoothstep(upper_HW / edge) * smoothstep(lower_HW / edge) * np.float32(level)
    below_HW = depth_HW - np.float32(0.17)
    below = smoothstep(below_HW / np.float32(0.05)) * np.exp(np.float32(-4.0) * np.abs(below_HW))
    grey_HW = grey_HW + np.float32(0.4) * below
    grey_HW *= 1.0 + np.float32(0.25) * field.noise(rng, 120)
    return np.repeat(grey_HW[None], 3, axis=0).astype(np.float32)


KINDS: tuple[Callable[[Field, np.random.Generator], FloatArray], ...] = (
    external_eye,
    anterior_segment,
    blank_frame,
    text_card,
    colour_gradient,
    tomogram,
)


def render_nonfundus(field: Field, rng: np.random.Generator) -> FloatArray:
    """Draw one of the kinds, all equally likely, and render it."""
    return KINDS[int(rng.integers(0, len(KINDS)))](field, rng)
