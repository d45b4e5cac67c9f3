"""The rule for rejected samples: an image must decode, must not be blank, and must not copy a training image.

`check_files` applies the first two parts to each micro-batch as it is sampled, `check_copies` the third to each shard.
The annotator's predictions do not matter: a sample whose prediction differs from the request is accepted, because
rejecting it would flatter the release.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.copies.gate import read_gate
from synfundus.copies.manifest import CopyCalibration
from synfundus.copies.reference import TrainingReference, read_reference
from synfundus.fundus.shard import decode_pixels
from synfundus.labels import FloatArray
from synfundus.measures.nearest import Reference, nearest
from synfundus.samples.rejection import SampleRejection, SampleRejectionReason
from synfundus.storage import Storage

BLANK_STANDARD_DEVIATION = 2.0
"""Grey levels of 255. An image is blank if no colour channel has a larger standard deviation."""


@dataclass(frozen=True)
class CopyReference:
    """The training images, and the smallest accepted distance ratio of a sample to them."""

    training: TrainingReference
    calibration: CopyCalibration


def copy_reference(storage: Storage, folder: str) -> CopyReference:
    """Return the training images and the threshold of a complete copy detector; no image is read.

    Raises:
        WrongInputError: the detector is not complete.
    """
    return CopyReference(read_reference(storage, folder), read_gate(storage, folder).calibration)


def decode_files(encoded: Sequence[bytes], shape: tuple[int, ...]) -> list[NDArray[np.uint8] | None]:
    """Return the pixels of each image file; None if it does not decode, or decodes to another shape.

    Args:
        encoded: image files as they will be stored.
        shape: height, width and channels.
    """
    return [_decode(data, shape) for data in encoded]


def check_files(sample_ids: Sequence[int], decoded: Sequence[NDArray[np.uint8] | None]) -> list[SampleRejection]:
    """Return a rejection for each image that does not decode or is blank.

    Args:
        decoded: result of `decode_files`.
    """
    reasons = [_file_reason(pixels_HWC) for pixels_HWC in decoded]
    return [
        SampleRejection(sample_id=sample_id, reason=reason)
        for sample_id, reason in zip(sample_ids, reasons, strict=True)
        if reason is not None
    ]


def check_copies(
    sample_ids: Sequence[int], descriptors_BD: FloatArray, reference: Reference, threshold: float
) -> list[SampleRejection]:
    """Return a rejection for each sample whose distance ratio to the training images is below `threshold`.

    Args:
        descriptors_BD: copy descriptors of the samples; the more at once, the faster.
        reference: the training images.
    """
    if not len(sample_ids) or not len(reference):
        return []
    ratios = nearest(descriptors_BD, reference).ratio.tolist()
    return [
        SampleRejection(sample_id=sample_id, reason=SampleRejectionReason.NEAR_TRAINING_IMAGE, distance_ratio=ratio)
        for sample_id, ratio in zip(sample_ids, ratios, strict=True)
        if ratio < threshold
    ]


def _decode(data: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    try:
        pixels_HWC = decode_pixels(data)
    except (OSError, SyntaxError, ValueError):  # what Pillow raises on a broken file
        return None
    return pixels_HWC if pixels_HWC.shape == shape else None


def _file_reason(decoded_HWC: NDArray[np.uint8] | None) -> SampleRejectionReason | None:
    """Return the reason to reject an image file by itself; None if there is none."""
    if decoded_HWC is None:
        return SampleRejectionReason.UNDECODABLE
    if decoded_HWC.std(axis=(0, 1)).max() < BLANK_STANDARD_DEVIATION:
        return SampleRejectionReason.BLANK
    return None
