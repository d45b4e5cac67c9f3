"""Batches of prepared images: labels alone, or labels with pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.labels import FloatArray


@dataclass(frozen=True)
class LabelBatch:
    """Labels of some prepared images."""

    p_BV: FloatArray
    """(B, 19) head probabilities: 0 or 1 from an expert, calibrated if filled, 0 if unknown."""
    known_BK: NDArray[np.bool_]
    """(B, 16) true for a label from an expert or filled."""
    expert_BK: NDArray[np.bool_]
    """(B, 16) true for a label from an expert."""
    image_ids: list[str]
    patients: list[str]

    def __len__(self) -> int:
        return len(self.image_ids)


@dataclass(frozen=True)
class ImageBatch(LabelBatch):
    """Some prepared images with their labels."""

    images_BHWC: NDArray[np.uint8]
