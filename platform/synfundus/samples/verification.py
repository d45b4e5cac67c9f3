"""`verification.json`: which attempt of each sample was accepted, and what was rejected and why.

Lies below `samples/<name>/` beside the shards, which hold rejected rows too; readers of samples use this record.
"""

from typing import Final, Literal

from synfundus.copies.manifest import CopyCalibration
from synfundus.measures.copies import SampledCounts
from synfundus.metadata import Metadata
from synfundus.samples.manifest import SamplesManifest
from synfundus.samples.rejection import RejectedAttempt, SampleRejectionReason
from synfundus.storage import Storage, read_manifest, read_record

VERIFICATION: Final = "verification.json"
NO_ATTEMPT: Final = -1
"""Number in place of the accepted attempt of a sample that has none."""


class AcceptedAttempt(Metadata):
    """A sample that was accepted after its first attempt was rejected."""

    sample_id: int
    attempt: int
    """Number of the accepted attempt, 1 or more."""


class Verification(Metadata):
    """Outcome of the checks of all attempts at all samples of a plan."""

    version: Literal[1] = 1
    """Schema of this record."""
    space: str
    """Space in which the distance to training images is measured."""
    calibration: CopyCalibration
    """Distance ratio to the training images below which a sample is rejected, and where it comes from."""
    num_samples: int
    """Samples of the plan."""
    accepted: tuple[AcceptedAttempt, ...]
    """Samples accepted at a later attempt; every sample that is listed nowhere was accepted at attempt 0."""
    rejected: tuple[RejectedAttempt, ...]
    """All rejected attempts."""
    unresolved: tuple[int, ...]
    """Ids of the samples without an accepted attempt."""


def read_verification(storage: Storage, folder: str, manifest: SamplesManifest) -> Verification:
    """Return the verification of complete samples, its digest verified.

    Raises:
        StorageError: the file is missing, or differs from the manifest.
    """
    return read_record(storage, folder, VERIFICATION, manifest, Verification)


def accepted_attempts(verification: Verification) -> dict[int, int]:
    """Return the accepted attempt of each sample whose attempt 0 was rejected; `NO_ATTEMPT` if it has none."""
    attempts = {item.sample_id: item.attempt for item in verification.accepted}
    return {**attempts, **dict.fromkeys(verification.unresolved, NO_ATTEMPT)}


def count_sampled(storage: Storage, folder: str) -> SampledCounts:
    """Return how many images were sampled for a complete `samples/<name>/`, and how many lay too near.

    Raises:
        WrongInputError: sampling has not finished.
        StorageError: a file differs from the manifest.
    """
    verification = read_verification(storage, folder, read_manifest(storage, folder, SamplesManifest))
    # Each rejected attempt was followed by another one, except the last attempt of an unresolved sample.
    num_repeated = len(verification.rejected) - len(verification.unresolved)
    near = [item for item in verification.rejected if item.reason is SampleRejectionReason.NEAR_TRAINING_IMAGE]
    return SampledCounts(num_sampled=verification.num_samples + num_repeated, num_near=len(near))
