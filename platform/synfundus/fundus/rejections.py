"""Reasons for which `prepare` rejects an image."""

from enum import StrEnum


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
