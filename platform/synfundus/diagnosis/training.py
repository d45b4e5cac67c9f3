"""Training of the annotator: masked, balanced binary cross-entropy over the 19 heads, on experts' labels only.

With several workers, batch norm normalises with the statistics of a worker's own rows, and its running statistics are
those of rank 0, which DistributedDataParallel broadcasts before each forward pass; they are part of `state`, so that a
resumed run stays exact. The gradient is otherwise that of the global batch, since the loss is normalised by constants.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from synfundus.diagnosis.annotator import NetworkScorer
from synfundus.diagnosis.augmentation import augment
from synfundus.diagnosis.calibration import fit_calibration
from synfundus.diagnosis.checkpoint import save_annotator
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.counts import LabelCounts, count_labels
from synfundus.diagnosis.metrics import measure_parts, predict_split
from synfundus.diagnosis.model import ModelSpec, build_annotator, initialise, preprocess
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import PreparedImages
from synfundus.labels import NUM_VALUES, FloatArray, expand_known
from synfundus.seeds import derive_seed
from synfundus.storage import Storage
from synfundus.training.learner import Learner, image_indices

MAX_IMBALANCE = 10.0
"""A class weighs at most this many times the other one; beyond it, rare labels would be learnt from single images."""
MAX_HEAD_WEIGHT = 20.0
"""A head whose label is known for less than 1/20 of the labelled images weighs less than the others."""


def class_weights(counts: LabelCounts) -> tuple[FloatArray, FloatArray]:
    """Weight of a positive and of a negative of each head, (19,) each; 0 for a head without both classes.

    Within a head the classes balance (up to `MAX_IMBALANCE`) at mean weight 1 over its known images; a head then weighs
    the inverse of its known fraction, so that all heads weigh alike; all is divided by the number of heads. These are
    constants of the labelled training images, so the loss is a plain mean, whatever the world size.
    """
    known_V = np.maximum(counts.known, 1)
    rate_V = counts.positive_V / known_V
    trainable_V = counts.both_classes
    odds_V = np.where(trainable_V, (1 - rate_V) / np.where(trainable_V, rate_V, 1), 1.0)
    ratio_V = np.clip(odds_V, 1 / MAX_IMBALANCE, MAX_IMBALANCE)
    head_V = np.minimum(len(counts.teaching()) / known_V, MAX_HEAD_WEIGHT) / max(1, trainable_V.sum())
    negative_V = np.where(trainable_V, head_V / (rate_V * ratio_V + 1 - rate_V), 0.0)
    return (negative_V * ratio_V).astype(np.float32), negative_V.astype(np.float32)


def masked_loss(
    logit_BV: Tensor, p_BV: Tensor, known_BV: Tensor, positive_weight_V: Tensor, negative_weight_V: Tensor
) -> Tensor:
    """Mean over images of the weighted binary cross-entropies of the known heads; unknown ones give no gradient."""
    logit_BV = logit_BV.float()
    weight_BV = p_BV * positive_weight_V + (1.0 - p_BV) * negative_weight_V
    # where, not a product: an unknown head must not pass on a non-finite logit's gradient either
    per_head_BV = F.binary_cross_entropy_with_logits(logit_BV, p_BV, weight=weight_BV, reduction="none")
    return torch.where(known_BV, per_head_BV, 0.0).sum(dim=1).mean()


class AnnotatorLearner(Learner):
    """The annotator in training on the `train` part of prepared images."""

    config: AnnotatorConfig

    def __init__(
        self, images: PreparedImages, config: AnnotatorConfig, device: torch.device, rank: int = 0, world_size: int = 1
    ) -> None:
        """Raises WrongInputError when no label has both values in the training part."""
        self.images = images
        self.counts = count_labels(images, "train")
        # Images without a label to learn from would only thin out the batches.
        self.teaching = self.counts.teaching()
        if not len(self.teaching):
            raise WrongInputError(
                f"{images.folder}: no label has both values in its {images.num_images('train')} training images;"
                " there is nothing to learn, add labelled images"
            )
        # Weights of the start depend on the seed alone, so all workers begin with the same network.
        torch.manual_seed(derive_seed("weights", config.seed))
        network = build_annotator(config.architecture, NUM_VALUES, config.dropout)
        self.fresh_tensors = initialise(network, config.init_from) if config.init_from is not None else None
        super().__init__(network, config, device, rank, world_size)
        self._weights = tuple(torch.from_numpy(w_V).to(device) for w_V in class_weights(self.counts))

    def loss(self, positions: range) -> Tensor:
        """Masked loss of the images at these global sample positions, augmented."""
        config = self.config
        rows = self.teaching[image_indices(config.seed, positions, len(self.teaching), self.images.num_cached)]
        batch = self.images.batch("train", rows)
        x_BCHW = preprocess(torch.from_numpy(batch.images_BHWC).to(self.device), config.image_size_px)
        p_BV = torch.from_numpy(batch.p_BV).to(self.device)
        x_BCHW, p_BV = augment(x_BCHW, p_BV, config, config.seed, positions)
        # Dropout draws from torch's global generator: reseeded here, it needs no place in the saved state.
        torch.manual_seed(derive_seed("dropout", config.seed, positions.start))
        logit_BV = self.forward_network(x_BCHW)
        known_BV = torch.from_numpy(expand_known(batch.expert_BK)).to(self.device)
        return masked_loss(logit_BV, p_BV, known_BV, *self._weights)

    def spec(self) -> ModelSpec:
        return ModelSpec(architecture=self.config.architecture, image_size_px=self.config.image_size_px)

    def save(self, storage: Storage, folder: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Calibrate on the validation part, measure there and on the test part, and write the annotator to `folder`.

        Rank 0 alone calls this. `facts` are further keys of the manifest, equal for equal input.

        Returns:
            What `metrics.json` holds.
        """
        scorer = NetworkScorer(self.network, self.spec(), self.device)
        parts = {split: predict_split(scorer, self.images, split) for split in ("validation", "test")}
        calibration = fit_calibration(parts["validation"], self.counts)
        metrics = measure_parts(parts, calibration)
        if self.fresh_tensors is not None:
            metrics["init_from"] = {"fresh_tensors": self.fresh_tensors}
        save_annotator(
            storage, folder, self.network, self.spec(), calibration, metrics, {**facts, "data": self.images.folder}
        )
        return metrics
