"""Size of each finding of the phantoms, measured on what the renderer changes."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synfundus.labels import DISEASES, HEAD_NAMES
from synfundus.phantom.render import render

SIZE_PX = 256
NUM_EYES = 4
CHANGED = 30
"""Smallest change of a pixel, summed over the channels (0 to 765), that counts."""
DISEASE_HEADS = tuple(head for head in HEAD_NAMES if head.partition(">=")[0] in DISEASES)
"""Heads of the labels that have a finding with a size: four grades and ten diseases."""


@cache
def finding_diameter(head: str) -> float:
    """Return the diameter of a finding's marks, in diameters of the field of view.

    A mark is a connected region that the finding changes, and its diameter that of a disc of the same area. Half of
    the changed area lies in marks of at most the returned diameter. A grade is compared with the grade below it.
    Rendered at 256 px in four eyes.
    """
    name, _, grade = head.partition(">=")
    value = int(grade or 1)
    areas = np.concatenate([_mark_areas(name, value, seed) for seed in range(NUM_EYES)])
    areas.sort()
    half = int(np.searchsorted(np.cumsum(areas), areas.sum() / 2))
    return float(np.sqrt(4.0 / np.pi * areas[half]) / SIZE_PX)


def _mark_areas(name: str, value: int, seed: int) -> NDArray[np.float64]:
    """Return the areas in pixels of the regions of one eye that change from `value - 1` to `value`."""
    with_HWC, without_HWC = (render({"eye_side": 0, name: v}, seed, SIZE_PX).astype(int) for v in (value, value - 1))
    labels_HW, _ = ndimage.label(np.abs(with_HWC - without_HWC).sum(axis=2) > CHANGED)
    return np.asarray(np.bincount(labels_HW.ravel())[1:], np.float64)
