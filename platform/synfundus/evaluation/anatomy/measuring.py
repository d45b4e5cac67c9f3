"""Measures of the anatomy of images: six numbers of each image, NaN where one cannot be found."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from synfundus.evaluation.anatomy.canvas import RADIUS_PX, SIDE_PX, Canvas
from synfundus.evaluation.anatomy.disc import cup_to_disc, find_disc
from synfundus.evaluation.anatomy.vessels import line_contrasts, vessel_mask
from synfundus.labels import FloatArray
from synfundus.measures.diversity_metrics import ANATOMY_MEASURES

CENTRE_PX = (SIDE_PX - 1) / 2
CIRCLE_PX = np.pi / 4 * SIDE_PX**2
"""Area of the circle that an uncut field fills."""


def measure_anatomy(images_BHWC: NDArray[np.uint8]) -> FloatArray:
    """Return the anatomy (B, 6) of uint8 images (B, H, W, 3) of any size, in the order of `ANATOMY_MEASURES`.

    NaN: no disc (cup, vessel-bearing field) was found. torch's number of threads measures images at the same time.
    """
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        rows = list(pool.map(_measure, images_BHWC))
    return np.asarray(rows, np.float32).reshape(len(rows), len(ANATOMY_MEASURES))


def _measure(image_HWC: NDArray[np.uint8]) -> list[float]:
    canvas = Canvas.of(image_HWC)
    contrast_AHW = line_contrasts(canvas)
    num_inner = int(canvas.inner_HW.sum())
    vessel_density = float(vessel_mask(contrast_AHW)[canvas.inner_HW].mean()) if num_inner else np.nan
    field = float(canvas.field_HW.sum() / CIRCLE_PX)
    disc = find_disc(canvas, contrast_AHW)
    if disc is None:
        return [np.nan, np.nan, np.nan, np.nan, vessel_density, field]
    cup = cup_to_disc(canvas, disc)
    return [
        abs(disc.x - CENTRE_PX) / RADIUS_PX,
        (disc.y - CENTRE_PX) / RADIUS_PX,
        disc.radius / RADIUS_PX,
        np.nan if cup is None else cup,
        vessel_density,
        field,
    ]
