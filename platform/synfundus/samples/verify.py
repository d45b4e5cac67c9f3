"""The rule for rejected samples: an image must decode, must not be blank, and must not copy a training image.

`check_samples` applies it to each micro-batch as it is sampled. The annotator's predictions do not matter: a
sample whose prediction differs from the request is accepted, because rejecting it would flatter the release.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.shard import decode_pixels
from synfundus.fundus.splits import HELD_OUT_SPLITS
from synfundus.labels import FloatArray
from synfundus.measures.copies import copy_descriptor, held_out_threshold, nearest
from synfundus.samples.rejection import SampleRejection, SampleRejectionReason

BLANK_STANDARD_DEVIATION = 2.0
"""Grey levels of 255. An image is blank if no colour channel has a larger standard deviation."""


@dataclass(frozen=True)
class CopyReference:
    """Descriptors of the training images, and the smallest accepted distance of a sample."""

    descriptors_ND: FloatArray
    threshold: float
    """Distance below which a sample is rejected: a quantile of held-out photographs' distances."""
    num_held_out: int
    """Held-out photographs behind the threshold."""


def copy_reference(images: PreparedImages, quantile: float) -> CopyReference:
    """Return the reference of a dataset: its training images, with the threshold from its held-out photographs.

    Raises:
        WrongInputError: the dataset has no held-out photographs.
    """
    training_ND = _descriptors(images, "train")
    held_out_MD = np.concatenate([_descriptors(images, split) for split in HELD_OUT_SPLITS])
    if not len(held_out_MD):
        raise WrongInputError(
            f"{images.folder}: no held-out photographs, so no distance to training images counts as too near;"
            " give validation and test a share in data.prepare.split_fractions"
        )
    threshold = held_out_threshold(nearest(held_out_MD, training_ND).distance, quantile)
    return CopyReference(training_ND, threshold, len(held_out_MD))


def _descriptors(images: PreparedImages, split: str) -> FloatArray:
    """Return the copy descriptors of a split, (N, D)."""
    empty = copy_descriptor(np.zeros((0, images.size_px, images.size_px, 3), np.uint8))
    batches = images.batches(split)
    return np.concatenate([empty, *(copy_descriptor(batch.images_BHWC) for batch in batches)])


def check_samples(
    sample_ids: Sequence[int], encoded: Sequence[bytes], pixels_BHWC: NDArray[np.uint8], reference: CopyReference
) -> list[SampleRejection]:
    """Return a rejection for each of these samples that breaks the rule, in the order of `sample_ids`.

    Args:
        encoded: image files as they will be stored.
        pixels_BHWC: images as the engine returned them.
    """
    rejections: list[SampleRejection] = []
    rows: list[int] = []
    for b, (sample_id, data) in enumerate(zip(sample_ids, encoded, strict=True)):
        reason = _file_reason(data, pixels_BHWC[b].shape)
        if reason is None:
            rows.append(b)
        else:
            rejections.append(SampleRejection(sample_id=sample_id, reason=reason))
    if rows and len(reference.descriptors_ND):
        distances = nearest(copy_descriptor(pixels_BHWC[rows]), reference.descriptors_ND).distance
        rejections += [
            SampleRejection(
                sample_id=sample_ids[b], reason=SampleRejectionReason.NEAR_TRAINING_IMAGE, distance=distance
            )
            for b, distance in zip(rows, distances.tolist(), strict=True)
            if distance < reference.threshold
        ]
    return sorted(rejections, key=lambda rejection: rejection.sample_id)


def _file_reason(data: bytes, shape: tuple[int, ...]) -> SampleRejectionReason | None:
    """Return the reason to reject an image file by itself; None if there is none."""
    try:
        decoded_HWC = decode_pixels(data)
    except (OSError, SyntaxError, ValueError):  # what Pillow raises on a broken file
        return SampleRejectionReason.UNDECODABLE
    if decoded_HWC.shape != shape:
        return SampleRejectionReason.UNDECODABLE
    if decoded_HWC.std(axis=(0, 1)).max() < BLANK_STANDARD_DEVIATION:
        return SampleRejectionReason.BLANK
    return None
