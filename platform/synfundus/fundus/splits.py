"""Assignment of patients to splits: a pure function of seed and patient, so added images move no patient."""

import hashlib
from collections.abc import Sequence
from typing import Final

from pydantic import Field, model_validator

from synfundus.config import Config

SPLITS: Final = ("train", "judge", "validation", "test")
"""Splits, from the least to the most held out. No model, calibration or plan reads `test`.

Neither annotator nor generator is trained on `judge`: the grader that judges the samples is. The distance from a
photograph of another person to the training images is measured on `validation` and `test`.
"""
JUDGE_SHARE: Final = 0.2
"""Expected share of the training patients that `assign_splits` moves to the split `judge`."""
MIN_LABELLED_PATIENTS: Final = 750
"""Training patients with an expert's label from which on there is a split `judge`. A fifth of them are 150 patients,
among whom a finding of one patient in fifteen has ten positives. With fewer, a grader learns little."""
NO_JUDGE: Final = (
    f"fewer than {MIN_LABELLED_PATIENTS} training patients have an expert's label, so none are set aside for a judge"
)
"""Reason why a dataset has no split `judge`."""
HELD_OUT_SPLITS: Final = ("validation", "test")
"""Splits of the held-out photographs, which the training of neither model reads."""


class SplitFractions(Config):
    """Expected fraction of the patients in each split; the three add up to 1."""

    train: float = Field(default=0.7, gt=0, le=1)
    """Fraction that both models are trained on. If the dataset has a split `judge`, `JUDGE_SHARE` of it goes there."""
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
    """Return the split of a patient, before `assign_splits` moves some to `judge`.

    A hash of seed and id in [0, 1) is cut at the fractions. The key of the patient hashes is not used.
    """
    u = _uniform(patient, seed, b"synfundus-split")
    if u < fractions.train:
        return "train"
    return "validation" if u < fractions.train + fractions.validation else "test"


def _uniform(patient: str, seed: int, purpose: bytes) -> float:
    """Return BLAKE2b of seed and id as a number in [0, 1); two purposes give independent numbers."""
    digest = hashlib.blake2b(f"{seed}\0{patient}".encode(), digest_size=8, person=purpose).digest()
    return int.from_bytes(digest, "big") / 2**64


def assign_splits(
    patients: Sequence[str],
    own_splits: Sequence[str | None],
    labelled: Sequence[bool],
    seed: int,
    fractions: SplitFractions,
) -> list[str]:
    """Return the split of each image.

    If at least `MIN_LABELLED_PATIENTS` training patients are labelled, `JUDGE_SHARE` of all training patients go to
    `judge`. Whether a patient is among them depends on seed and patient alone.

    Args:
        patients: patient of each image.
        own_splits: split that the source gives to each image, or None. If any image of a patient has one, all images
            of the patient go to the most held-out of them, so that no patient lies in two splits.
        labelled: whether an expert labelled the image.
    """
    given: dict[str, str] = {}
    for patient, split in zip(patients, own_splits, strict=True):
        if split is not None:
            given[patient] = max(split, given.get(patient, split), key=SPLITS.index)
    splits = {patient: given.get(patient) or split_of(patient, seed, fractions) for patient in patients}
    teaching = {patient for patient, known in zip(patients, labelled, strict=True) if known}
    if sum(splits[patient] == "train" for patient in teaching) >= MIN_LABELLED_PATIENTS:
        for patient, split in splits.items():
            if split == "train" and _uniform(patient, seed, b"synfundus-judge") < JUDGE_SHARE:
                splits[patient] = "judge"
    return [splits[patient] for patient in patients]
