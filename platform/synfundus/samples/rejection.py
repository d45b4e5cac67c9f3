"""Records of rejected samples. The rule itself is `check_samples` in `verify.py`."""

from enum import StrEnum

from synfundus.metadata import Metadata


class SampleRejectionReason(StrEnum):
    """Reason why a sample is rejected."""

    UNDECODABLE = "undecodable"
    """The encoded image does not decode to an image of the right size."""
    BLANK = "blank"
    """No colour channel varies."""
    NEAR_TRAINING_IMAGE = "near_training_image"
    """The distance ratio to the training images is below the threshold."""


class SampleRejection(Metadata):
    """Rejection of one attempt at a sample."""

    sample_id: int
    reason: SampleRejectionReason
    distance_ratio: float | None = None
    """Distance ratio to the training images, if that is the reason."""


class RejectedAttempt(SampleRejection):
    """A rejected sample with the number of its attempt, as `verification.json` lists it."""

    attempt: int
    """0 for the first."""
