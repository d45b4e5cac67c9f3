"""True anatomy of a phantom: the positions, sizes and masks from which `render` makes it.

Measures of anatomy are tested against it. Its lengths are those of the image, so a left eye is mirrored.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.labels import FloatArray, LabelRow
from synfundus.phantom.anatomy import CUP_ASPECT, draw_anatomy
from synfundus.phantom.field import field_of, stream
from synfundus.phantom.findings import disc_state, vessel_state
from synfundus.phantom.render import aperture, rendered_state
from synfundus.phantom.vessels import cover_vessels, grow_vessels


@dataclass(frozen=True)
class PhantomTruth:
    """Anatomy of one phantom. Lengths are in radii of the field of view."""

    disc_xy: NDArray[np.float64]
    """(2,) centre of the optic disc; (0, 0) is the centre of the image, x points right, y down."""
    disc_radius: float
    """Radius of the circle with the area of the disc."""
    cup_to_disc: float | None
    """Square root of the area of the cup over that of the disc; None for a swollen disc, which has no cup."""
    vessel_HW: FloatArray
    """Share of each pixel that arteries and veins cover, 0 to 1."""
    field_HW: NDArray[np.bool_]
    """True in the field of view."""


def phantom_truth(labels: LabelRow, seed: int, size_px: int, *, patient_seed: int | None = None) -> PhantomTruth | None:
    """Return the anatomy of the phantom that `render` makes of the same arguments; None if it is not a fundus."""
    state = rendered_state(labels, seed, ())
    if not state["is_fundus"]:
        return None
    field = field_of(size_px)
    anatomy = draw_anatomy(seed if patient_seed is None else patient_seed, seed)
    disc = disc_state(state, anatomy, seed)
    coverage = cover_vessels(field, anatomy, *grow_vessels(anatomy, seed), vessel_state(state, seed))
    left = bool(state["eye_side"])
    vessel_HW = np.maximum(coverage.vein_HW, coverage.artery_HW)
    return PhantomTruth(
        disc_xy=anatomy.disc_xy * (-1.0 if left else 1.0, 1.0),
        disc_radius=anatomy.disc_radius * disc.growth * anatomy.disc_aspect**0.5,
        cup_to_disc=None if disc.swollen else disc.cup_ratio * CUP_ASPECT**0.5,
        vessel_HW=vessel_HW[:, ::-1] if left else vessel_HW,
        field_HW=aperture(field, stream(seed, "camera")) > 0.5,
    )
