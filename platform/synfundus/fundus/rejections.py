"""Reasons why `prepare` rejects an image.

`preprocess.prepare_image` rejects an image by its bytes; `verdicts.Verdicts` rejects copies.
"""

from enum import StrEnum


class ImageRejectionReason(StrEnum):
    """Reason why `prepare` rejects an image."""

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
    """An image is rejected. `preprocess.prepare_image` catches this error and returns it as `Rejected`."""

    def __init__(self, reason: ImageRejectionReason, detail: str) -> None:
        """Reject an image.

        Args:
            detail: explanation in one line.
        """
        super().__init__(detail)
        self.reason, self.detail = reason, detail
