"""Which part an image belongs to: a pure function of the seed and the patient, so that adding images moves nobody."""

import hashlib
from collections.abc import Sequence

from pydantic import Field, model_validator

from synfundus.config import Config
from synfundus.fundus.dataset import SPLITS


class SplitFractions(Config):
    """Expected part of the patients in each split; they add up to 1."""

    train: float = Field(default=0.7, gt=0, le=1)
    """Both models learn from it."""
    validation: float = Field(default=0.15, ge=0, lt=1)
    """Calibration and thresholds."""
    test: float = Field(default=0.15, ge=0, lt=1)
    """Held out: no model, calibration or plan sees it."""

    @model_validator(mode="after")
    def _add_up(self) -> "SplitFractions":
        if abs(self.train + self.validation + self.test - 1) > 1e-6:
            raise ValueError("train, validation and test must add up to 1")
        return self


def split_of(patient: str, seed: int, fractions: SplitFractions) -> str:
    """The split of a patient: BLAKE2b of seed and id as a number in [0, 1), cut at the fractions. No key enters."""
    digest = hashlib.blake2b(f"{seed}\0{patient}".encode(), digest_size=8, person=b"synfundus-split").digest()
    u = int.from_bytes(digest, "big") / 2**64
    if u < fractions.train:
        return "train"
    return "validation" if u < fractions.train + fractions.validation else "test"


def assign_splits(
    patients: Sequence[str], own: Sequence[str | None], seed: int, fractions: SplitFractions
) -> list[str]:
    """Split of each image.

    Args:
        patients: of each image.
        own: the source's own split of each image, or None. Where any image of a patient has one, the patient's images
            all go to the most held-out of them, so that no patient lies on two sides.
    """
    given: dict[str, str] = {}
    for patient, split in zip(patients, own, strict=True):
        if split is not None:
            given[patient] = max(split, given.get(patient, split), key=SPLITS.index)
    return [given.get(patient) or split_of(patient, seed, fractions) for patient in patients]
