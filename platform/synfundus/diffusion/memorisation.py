"""Memorisation during the training of a generator: how near its samples come to training images.

Over-training raises the share of copies (Dar et al. 2025, doi 10.1038/s41551-025-01468-8). Canaries are patients that
the training repeats on purpose, so that an audit sees from which number of repeats on a generator reproduces a patient
(Carlini et al. 2019, arXiv 1802.08232). The search for the nearest training image comes from the caller: this package
knows no descriptor.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.diffusion.config import CanariesConfig
from synfundus.errors import WrongInputError
from synfundus.measures.nearest import Nearest
from synfundus.seeds import random_numbers
from synfundus.training.metadata import CanaryRatios, MemorisationPoint


@dataclass(frozen=True)
class NearestTrainingImage:
    """Search for the training image that a sample copies."""

    space: str
    """Space of the distance, in words."""
    search: Callable[[NDArray[np.uint8]], Nearest]
    """Maps images (B, H, W, C) to their nearest training images, by index in the split `train`."""


@dataclass(frozen=True)
class Canary:
    """A patient whose photographs count several times in the training."""

    repeats: int
    indices: NDArray[np.int64]
    """Images of the patient, by index in the split `train`."""


def choose_canaries(patients: Sequence[str], config: CanariesConfig, seed: int) -> list[Canary]:
    """Return `config.num_patients` patients for each number of repeats, chosen at random by `seed`.

    Patients are numbered by their first image, so the choice does not depend on the key of the patient hashes.

    Args:
        patients: patient of each training image.

    Raises:
        WrongInputError: the training split has too few patients.
    """
    first_seen = {patient: number for number, patient in enumerate(dict.fromkeys(patients))}
    number_N = np.array([first_seen[patient] for patient in patients], np.int64)
    needed = config.num_patients * len(config.repeats)
    if len(first_seen) < needed:
        raise WrongInputError(
            f"generator.canaries: needs {needed} patients, the split train has {len(first_seen)}; lower num_patients"
        )
    chosen = random_numbers("canaries", seed).permutation(len(first_seen))[:needed]
    repeats = np.repeat(config.repeats, config.num_patients).tolist()
    return [Canary(times, np.flatnonzero(number_N == i)) for times, i in zip(repeats, chosen, strict=True)]


def repeated_images(num_images: int, canaries: Sequence[Canary]) -> NDArray[np.int64]:
    """Return the images of one epoch by index, (M,): each image once, those of a canary as often as it is repeated."""
    extra = [np.tile(canary.indices, canary.repeats - 1) for canary in canaries]
    return np.concatenate([np.arange(num_images, dtype=np.int64), *extra])


def memorisation_point(
    step: int, space: str, near: Nearest, canaries: Sequence[Canary], canary_near: Nearest | None
) -> MemorisationPoint:
    """Return the record of a checkpoint.

    Args:
        near: nearest training images of the samples with ordinary conditions.
        canary_near: those of samples with the conditions of canaries; sample i has that of canary i mod their number.
    """
    return MemorisationPoint(
        step=step,
        space=space,
        ratios=tuple(near.ratio.tolist()),
        canaries=() if canary_near is None else tuple(_canary_ratios(canaries, canary_near)),
    )


def _canary_ratios(canaries: Sequence[Canary], near: Nearest) -> list[CanaryRatios]:
    """Return, by number of repeats, the distance ratios of the samples whose nearest image is their own canary."""
    found = []
    for repeats in sorted({canary.repeats for canary in canaries}):
        own = [i for i in range(len(near.index)) if canaries[i % len(canaries)].repeats == repeats]
        hits = [i for i in own if near.index[i] in canaries[i % len(canaries)].indices]
        found.append(
            CanaryRatios(
                repeats=repeats,
                num_patients=sum(canary.repeats == repeats for canary in canaries),
                num_samples=len(own),
                ratios=tuple(float(near.ratio[i]) for i in hits),
            )
        )
    return found
