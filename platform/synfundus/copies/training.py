"""Training of the encoder: two altered views of one photograph get near codes, views of different ones get far codes.

The loss is supervised contrastive (Khosla et al. 2020, arXiv 2004.11362, equation 2; with one positive it is NT-Xent of
Chen et al. 2020, arXiv 2002.05709). Photographs of one eye at several times are positives of each other, where patient
and expert's side say so. Other photographs of the same patient are neither positives nor negatives. With several
workers, the negatives are the photographs of a worker's own micro-batch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synfundus.copies.augmentation import altered, draw_views
from synfundus.copies.checkpoint import save_encoder
from synfundus.copies.config import CopyDetectorConfig
from synfundus.copies.network import CopyNetwork, fine_structure, resized
from synfundus.errors import WrongInputError
from synfundus.fundus.batches import ImageBatch
from synfundus.fundus.dataset import PreparedImages
from synfundus.labels import HEADS, LABEL_NAMES
from synfundus.seeds import derive_seed, random_numbers
from synfundus.storage import Storage
from synfundus.training.learner import Learner, image_indices

MAX_TRAINING_IMAGES = 20_000
"""Training photographs that the encoder learns from; of more, as many are chosen at random. They are in memory, reduced
to the encoder's input size: 12 KiB each at 64 px."""
UNKNOWN_EYE = -1


@dataclass(frozen=True)
class TrainingImages:
    """The photographs that the encoder learns from."""

    images_NSSC: NDArray[np.uint8]
    """Reduced to the encoder's input size."""
    patient_N: NDArray[np.int64]
    """Number of the patient."""
    eye_N: NDArray[np.int64]
    """Number of the eye; photographs whose side no expert labelled have `UNKNOWN_EYE`."""


def read_training_images(images: PreparedImages, image_size_px: int, seed: int) -> TrainingImages:
    """Read the photographs that the encoder learns from, reduced to its input size.

    Raises:
        WrongInputError: fewer than two patients have a photograph in the training split.
    """
    order = random_numbers("copy images", seed).permutation(images.num_images("train"))
    chosen = np.sort(order[:MAX_TRAINING_IMAGES])
    parts, patients, sides = list[NDArray[np.uint8]](), list[str](), list[int]()
    for batch in images.batches_of("train", chosen):
        x_BCSS = resized(batch.images_BHWC, image_size_px).mul(255.0).round().to(torch.uint8)
        parts.append(x_BCSS.permute(0, 2, 3, 1).contiguous().numpy())
        patients += batch.patients
        sides += _sides(batch)
    names, patient_N = np.unique(np.array(patients), return_inverse=True)
    if len(names) < 2:
        raise WrongInputError(
            f"{images.folder}: {len(names)} patients in the training split; the copy detector needs at least 2"
        )
    side_N = np.array(sides, np.int64)
    return TrainingImages(
        np.concatenate(parts), patient_N, np.where(side_N < 0, UNKNOWN_EYE, 2 * patient_N + np.maximum(side_N, 0))
    )


def _sides(batch: ImageBatch) -> list[int]:
    """Return the expert's side of each photograph; -1 if no expert labelled it."""
    known_B = batch.expert_BK[:, LABEL_NAMES.index("eye_side")]
    side_B = batch.p_BV[:, HEADS["eye_side"]][:, 0].round()
    return [int(side) if known else -1 for side, known in zip(side_B, known_B, strict=True)]


def contrastive_loss(code_VD: Tensor, photograph_V: Tensor, patient_V: Tensor, eye_V: Tensor, scale: float) -> Tensor:
    """Return the supervised contrastive loss of views.

    Args:
        code_VD: codes of unit length, one for each view.
        photograph_V: number of the photograph that a view shows; each has at least two views.
        patient_V, eye_V: number of its patient and its eye (`UNKNOWN_EYE` if not known).
        scale: inverse of the temperature.
    """
    same_eye_VV = (eye_V[:, None] == eye_V[None]) & (eye_V != UNKNOWN_EYE)[:, None]
    positive_VV = (photograph_V[:, None] == photograph_V[None]) | same_eye_VV
    itself_VV = torch.eye(len(code_VD), dtype=torch.bool, device=code_VD.device)
    positive_VV = positive_VV & ~itself_VV
    compared_VV = positive_VV | (patient_V[:, None] != patient_V[None])
    logit_VV = (code_VD.float() @ code_VD.float().T * scale).masked_fill(~compared_VV, -torch.inf)
    log_share_VV = (logit_VV - logit_VV.logsumexp(1, keepdim=True)).masked_fill(~positive_VV, 0.0)
    return -(log_share_VV.sum(1) / positive_VV.sum(1)).mean()


class CopyLearner(Learner):
    """The encoder in training on the `train` split of prepared images."""

    config: CopyDetectorConfig
    network: CopyNetwork

    def __init__(
        self,
        images: PreparedImages,
        config: CopyDetectorConfig,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Build the network and read the photographs.

        Raises:
            WrongInputError: fewer than two patients have a photograph in the training split.
        """
        read = read_training_images(images, config.image_size_px, config.seed)
        self._x_NSSC = torch.from_numpy(read.images_NSSC)
        self._patient_N, self._eye_N = torch.from_numpy(read.patient_N), torch.from_numpy(read.eye_N)
        # The initial weights depend only on the seed, so all workers start with the same network.
        torch.manual_seed(derive_seed("weights", config.seed))
        super().__init__(CopyNetwork(config.image_size_px, config.width), config, device, rank, world_size)

    def loss(self, positions: range) -> Tensor:
        """Return the contrastive loss of two views of each photograph at these global sample positions."""
        index_B = torch.from_numpy(image_indices(self.config.seed, positions, len(self._x_NSSC)))
        x_BCSS = resized(self._x_NSSC[index_B].to(self.device), self.config.image_size_px)
        if random_numbers("mirror", self.config.seed, positions.start).random() < 0.5:
            x_BCSS = x_BCSS.flip(3)  # all of them, because two photographs of one eye must stay alike
        views = [altered(x_BCSS, *draw_views(self.config, positions, view, self.device)) for view in range(2)]
        # Light and contrast are evened in float32 also under autocast: local deviations are differences of large sums.
        with torch.autocast(self.device.type, enabled=False):
            x_V1SS = fine_structure(torch.cat(views)).contiguous(memory_format=torch.channels_last)
        code_VD = self.forward_network(x_V1SS)
        photograph_V, patient_V, eye_V = (
            torch.cat([of_B, of_B]).to(self.device)
            for of_B in (index_B, self._patient_N[index_B], self._eye_N[index_B])
        )
        return contrastive_loss(code_VD, photograph_V, patient_V, eye_V, 1.0 / self.config.temperature)

    def save(self, storage: Storage, folder: str) -> None:
        """Write the encoder to `folder`, which the stage completes later. Called on rank 0 only."""
        save_encoder(storage, folder, self.network, self.config)
