"""Assignment of patients to splits: a pure function of seed and patient, so added images move no patient."""

import hashlib
from collections.abc import Sequence
from typing import Final

from pydantic import Field, model_validator

from synfundus.config import Config

SPLITS: Final = ("train", "validation", "test")
"""Splits, from the least to the most held out. No model, calibration or plan reads `test`.

The distance from a photograph of another person to the training images is measured on `validation` and `test`.
"""
HELD_OUT_SPLITS: Final = ("validation", "test")
"""Splits of the held-out photographs, which the training of neither model reads."""


class SplitFractions(Config):
    """Expected fraction of the patients in each split; the three add up to 1."""

    train: float = Field(default=0.7, gt=0, le=1)
    """Fraction that both models are trained on."""
    validation: float = Field(default=0.15, ge=0, lt=1)
    """Fraction for calibration and operating points."""
    test: float = Field(default=0.15, ge=0, lt=1)
    """Fraction that no model, calibration or plan reads."""

    @model_validator(mode="after")
    def _add_up(self) -> "SplitFractions":
        if abs(self.train + self.validation + self.test - 1) > 1e-6:
            raise ValueError("train, validation and test must add up to 1")
        return self


def split_of(patient: str, seed: int, fractions: SplitFractions) -> str:
    """Return the split of a patient: BLAKE2b of seed and id as a number in [0, 1), cut at the fractions.

    The key of the patient hashes is not used.
    """
    digest = hashlib.blake2b(f"{seed}\0{patient}".encode(), digest_size=8, person=b"synfundus-split").digest()
    u = int.from_bytes(digest, "big") / 2**64
    if u < fractions.train:
        return "train"
    return "validation" if u < fractions.train + fractions.validation else "test"


def assign_splits(
    patients: Sequence[str], own_splits: Sequence[str | None], seed: int, fractions: SplitFractions
) -> list[str]:
    """Return the split of each image.

    Args:
        patients: patient of each image.
        own_splits: split that the source gives to each image, or None. If any image of a patient has one, all images
            of the patient go to the most held-out of them, so that no patient lies in two splits.
    """
    given: dict[str, str] = {}
    for patient, split in zip(patients, own_splits, strict=True):
        if split is not None:
            given[patient] = max(split, given.get(patient, split), key=SPLITS.index)
    return [given.get(patient) or split_of(patient, seed, fractions) for patient in patients]
