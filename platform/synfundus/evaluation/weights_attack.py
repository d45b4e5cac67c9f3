"""Membership inference on the generator's weights: does it remove noise better from photographs that it was trained on?

The score of a photograph is minus its log loss at fixed noise and timesteps. With reference generators, which were not
trained on these photographs, their mean log loss is added: a photograph that is easy for every generator is then no
evidence of membership (Watson et al. 2022, arXiv 2111.08440; Carlini et al. 2022, arXiv 2112.03570, offline attack).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from synfundus.diffusion.checkpoint import Generator, load_generator
from synfundus.diffusion.denoising import log_losses
from synfundus.diffusion.training import ImageSource
from synfundus.errors import WrongInputError
from synfundus.evaluation.attacks import Attacked, membership_attack
from synfundus.fundus.batches import ImageBatch
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.splits import HELD_OUT_SPLITS
from synfundus.labels import FloatArray, condition_vector
from synfundus.measures.privacy import MembershipAttack
from synfundus.seeds import random_numbers
from synfundus.storage import Storage

BATCH = 16
"""Images of one forward pass."""


@dataclass(frozen=True)
class Choice:
    """Choice of the photographs that are attacked."""

    max_images: int
    """Largest number of training photographs, and of held-out photographs."""
    seed: int


def attack_weights(
    storage: Storage,
    generator_folder: str,
    reference_folders: Sequence[str],
    images: PreparedImages,
    choice: Choice,
    device: str,
) -> MembershipAttack:
    """Attack the generator in `generator_folder`, with those in `reference_folders` as references.

    Raises:
        WrongInputError: a generator is not complete, or makes images of another size.
    """
    target, *references = [
        _load(storage, folder, images.size_px, device) for folder in (generator_folder, *reference_folders)
    ]
    return attack_generator(target, references, images, choice, torch.device(device))


def attack_generator(
    target: Generator, references: Sequence[Generator], images: ImageSource, choice: Choice, device: torch.device
) -> MembershipAttack:
    """Score training and held-out photographs, and return how well the scores separate them."""
    members, non_members = (
        _scores(target, references, images, splits, choice, device) for splits in (("train",), HELD_OUT_SPLITS)
    )
    return membership_attack(
        "Membership from the weights",
        "The attacker holds the generator's weights, a photograph of the person and the labels that an expert gave it.",
        members,
        non_members,
        len(references),
    )


def _load(storage: Storage, folder: str, size_px: int, device: str) -> Generator:
    generator = load_generator(storage, folder, device)
    if generator.size_px != size_px:
        raise WrongInputError(
            f"{folder}: makes images of {generator.size_px} px, but the photographs have {size_px} px;"
            " name reference generators of the same size in evaluation.reference_generators"
        )
    return generator


def _scores(
    target: Generator,
    references: Sequence[Generator],
    images: ImageSource,
    splits: Sequence[str],
    choice: Choice,
    device: torch.device,
) -> Attacked:
    """Return the attack's score of chosen photographs of these splits; the higher, the more likely a member."""
    scores, patients, first = [np.zeros(0)], list[str](), 0
    for split, indices in _chosen(images, splits, choice):
        for start in range(0, len(indices), BATCH):
            batch = images.batch(split, indices[start : start + BATCH])
            patients += batch.patients
            scores.append(_batch_scores(target, references, batch, first, device))
            first += len(batch)
    return Attacked(np.concatenate(scores), patients)


def _chosen(images: ImageSource, splits: Sequence[str], choice: Choice) -> list[tuple[str, NDArray[np.int64]]]:
    """Return the chosen images of each split by index, ascending; at most `max_images` together."""
    sizes = [images.num_images(split) for split in splits]
    order = random_numbers("attacked", choice.seed, *splits).permutation(sum(sizes))[: choice.max_images]
    starts = np.cumsum([0, *sizes])
    return [
        (split, np.sort(order[(order >= start) & (order < start + size)]) - start)
        for split, size, start in zip(splits, sizes, starts[:-1], strict=True)
    ]


def _batch_scores(
    target: Generator, references: Sequence[Generator], batch: ImageBatch, first: int, device: torch.device
) -> NDArray[np.float64]:
    # Filled labels are left out: training and held-out photographs may have been filled to a different extent.
    condition_BD = condition_vector(batch.p_BV, batch.expert_BK)
    losses = [_mean_log_loss(each, batch, condition_BD, first, device) for each in (target, *references)]
    return np.asarray((np.mean(losses[1:], axis=0) if references else 0.0) - losses[0], np.float64)


def _mean_log_loss(
    generator: Generator, batch: ImageBatch, condition_BD: FloatArray, first: int, device: torch.device
) -> NDArray[np.float64]:
    return np.asarray(log_losses(generator, batch.images_BHWC, condition_BD, first, device).mean(axis=1), np.float64)
