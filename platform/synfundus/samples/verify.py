"""What a sample must pass before it may be released: it decodes, is not blank, and is no copy of a training image.

Nothing here asks the annotator: a sample that the annotator disagrees with stays, or the release would flatter itself.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from synfundus.fundus.shard import decode_pixels
from synfundus.labels import FloatArray
from synfundus.measures.copies import copy_descriptor, nearest

BLANK_STANDARD_DEVIATION = 2.0
"""Grey levels of 255; a picture none of whose colours varies more shows nothing."""


class Reason(StrEnum):
    """Why a sample is rejected."""

    UNDECODABLE = "undecodable"
    BLANK = "blank"
    NEAR_TRAINING_IMAGE = "near_training_image"


@dataclass(frozen=True)
class CopyReference:
    """Training images as descriptors, and how near is too near."""

    descriptors_ND: FloatArray
    threshold: float
    """Distance; the stated quantile of held-out photographs' distances to their nearest training image."""


@dataclass(frozen=True)
class Rejection:
    """One sample that is not accepted."""

    sample_id: int
    reason: Reason
    distance: float | None = None
    """To the nearest training image, where that is the reason."""


def check_samples(
    sample_ids: list[int], encoded: list[bytes], pixels_BHWC: NDArray[np.uint8], reference: CopyReference
) -> list[Rejection]:
    """Rejected ones among these samples. `encoded` is what will be stored, `pixels_BHWC` what the engine drew."""
    found: list[Rejection] = []
    sound: list[int] = []
    for b, (sample_id, data) in enumerate(zip(sample_ids, encoded, strict=True)):
        try:
            decoded = decode_pixels(data)
        except (OSError, SyntaxError, ValueError):  # what Pillow raises on a broken file
            found.append(Rejection(sample_id, Reason.UNDECODABLE))
            continue
        if decoded.shape != pixels_BHWC[b].shape:
            found.append(Rejection(sample_id, Reason.UNDECODABLE))
        elif decoded.std(axis=(0, 1)).max() < BLANK_STANDARD_DEVIATION:
            found.append(Rejection(sample_id, Reason.BLANK))
        else:
            sound.append(b)
    if sound and len(reference.descriptors_ND):
        distances = nearest(copy_descriptor(pixels_BHWC[sound]), reference.descriptors_ND).distance
        for b, distance in zip(sound, distances.tolist(), strict=True):
            if distance < reference.threshold:
                found.append(Rejection(sample_ids[b], Reason.NEAR_TRAINING_IMAGE, distance))
    return sorted(found, key=lambda rejection: rejection.sample_id)
