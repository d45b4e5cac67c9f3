"""A tiny generator in training, on images whose labels are visible."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synfundus.diffusion.config import GeneratorConfig
from synfundus.diffusion.training import GeneratorLearner
from synfundus.fundus.batches import ImageBatch, LabelBatch
from synfundus.labels import HEADS, LABEL_NAMES, NUM_VALUES, encode_values

CPU = torch.device("cpu")
SIDE, GLAUCOMA = HEADS["eye_side"].start, HEADS["is_gc"].start
SIDE_FLAG, GRADE_FLAG = NUM_VALUES + LABEL_NAMES.index("eye_side"), NUM_VALUES
BETA_SCHEDULES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
TINY = GeneratorConfig.model_validate(
    {
        "unet": {"size_px": 8, "channels": (8, 16), "norm_num_groups": 4},
        "num_steps": 20,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "warmup_steps": 2,
        "resources": {"precision": "fp32", "num_threads": 1},
        "sheet_num_columns": 3,
        "sheet_solver": {"name": "ddim", "num_steps": 4, "guidance_scale": 2.0},
        "memorisation_num_samples": 12,
    }
)


class Spots:
    """Images with visible labels: in a right eye the right half is bright, in a left eye the left half.

    The side of every fifth image is unknown; glaucoma is a filled label with probability 0.3.
    """

    size_px = 8
    unknown_side_every = 5

    def __init__(self, num_images: int = 40, num_validation: int = 0) -> None:
        self._num_images = {"train": num_images, "validation": num_validation}
        self.read: dict[str, list[int]] = {"train": [], "validation": []}
        """Indices that were asked for so far, by split."""

    def num_images(self, split: str) -> int:
        """Return the number of images of a split."""
        return self._num_images[split]

    def labels(self, split: str, indices: Sequence[int] | NDArray[np.int64]) -> LabelBatch:
        """Return labels by index; every image has a patient of its own."""
        return self._batch(indices)

    def batch(self, split: str, indices: Sequence[int] | NDArray[np.int64]) -> ImageBatch:
        """Return images by index, with their labels; an index has the same image in both splits."""
        self.read[split] += [int(i) for i in indices]
        return self._batch(indices)

    def _batch(self, indices: Sequence[int] | NDArray[np.int64]) -> ImageBatch:
        rows = [{"eye_side": int(i) % 2, "dr_grade": int(i) % 5, "is_fundus": 1} for i in indices]
        p_BV, expert_BK = encode_values(rows)
        unknown_B = np.array([int(i) % self.unknown_side_every == self.unknown_side_every - 1 for i in indices])
        p_BV[unknown_B, SIDE], expert_BK[unknown_B, LABEL_NAMES.index("eye_side")] = 0.0, False
        known_BK = expert_BK.copy()
        p_BV[:, GLAUCOMA], known_BK[:, LABEL_NAMES.index("is_gc")] = 0.3, True
        images_BHWC = np.stack([self.pixels(int(i)) for i in indices])
        return ImageBatch(p_BV, known_BK, expert_BK, [str(i) for i in indices], [str(i) for i in indices], images_BHWC)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Return one image (8, 8, 3)."""
        image_HWC = np.random.default_rng(index).integers(0, 60, (self.size_px, self.size_px, 3)).astype(np.uint8)
        half = slice(self.size_px // 2, None) if index % 2 == 0 else slice(0, self.size_px // 2)
        image_HWC[:, half] += np.uint8(150)
        return image_HWC


def changed(**changes: Any) -> GeneratorConfig:
    """Return `TINY` with some settings replaced."""
    return GeneratorConfig.model_validate(TINY.model_dump() | changes)


def learner_of(
    config: GeneratorConfig = TINY, *, perturb: bool = False, num_images: int = 40, num_validation: int = 0
) -> GeneratorLearner:
    """Return a learner; with `perturb` its last convolution is not zero, so that every weight has a gradient."""
    learner = GeneratorLearner(Spots(num_images, num_validation), config, CPU)
    if perturb:
        generator = torch.Generator().manual_seed(2)
        for network in (learner.network, learner.ema_network):
            last: Any = network.conv_out
            with torch.no_grad():
                last.weight.copy_(0.1 * torch.randn(last.weight.shape, generator=generator.manual_seed(2)))
    return learner


def set_bias(learner: GeneratorLearner, value: float) -> None:
    """Make the network output this number everywhere; the weights of its last convolution are still 0."""
    last: Any = learner.network.conv_out
    with torch.no_grad():
        last.bias.fill_(value)
