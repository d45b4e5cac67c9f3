"""Reasons for which `prepare` rejects an image."""

from enum import StrEnum

from PIL import Image


class ImageRejectionReason(StrEnum):
    """Reason for which an image is not among the prepared ones."""

    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    TOO_SMALL = "too_small"
    NOT_AN_IMAGE = "not_an_image"
    DECOMPRESSION_BOMB = "decompression_bomb"
    NO_FIELD_OF_VIEW = "no_field_of_view"
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"

    @property
    def words(self) -> str:
        """The reason as a person reads it: `too small`."""
        return self.value.replace("_", " ")


class ImageRejectedError(Exception):
    """Raised by a step of `preprocess.prepare_image`, which returns it as a result."""

    def __init__(self, reason: ImageRejectionReason, detail: str, frame: Image.Image | None = None) -> None:
        """Reject an image.

        Args:
            detail: one line for a person.
            frame: the decoded image, for a thumbnail.
        """
        super().__init__(detail)
        self.reason, self.detail, self.frame = reason, detail, frame
