"""Training of the annotator, on experts' labels only: masked, balanced binary cross-entropy over the 19 heads.

With several workers, batch norm normalises with the statistics of a worker's own rows. Its running statistics are those
of rank 0, which DistributedDataParallel broadcasts before each forward pass; they are part of `state`, so that a
resumed run stays exact. Apart from batch norm, the gradient is that of the global batch, because the loss is normalised
by constants.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synfundus.diagnosis.annotator import NetworkScorer
from synfundus.diagnosis.assessment import assess
from synfundus.diagnosis.augmentation import augment
from synfundus.diagnosis.checkpoint import save_network
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.counts import LabelCounts
from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.diagnosis.measuring import predict_split
from synfundus.diagnosis.metrics import AnnotatorScores
from synfundus.diagnosis.model import ModelSpec, build_annotator, initialise, load_fitting, preprocess
from synfundus.diagnosis.training_set import SplitSet, TrainingSet
from synfundus.errors import WrongInputError
from synfundus.fundus.batches import ImageBatch
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.splits import HELD_OUT_SPLITS
from synfundus.labels import NUM_VALUES, FloatArray, expand_known
from synfundus.seeds import derive_seed
from synfundus.storage import Storage
from synfundus.training.learner import Learner, image_indices
from synfundus.training.read_ahead import ReadAhead

MAX_IMBALANCE = 10.0
"""Largest ratio of the weights of a head's two classes; with more, single images would decide rare labels."""
MAX_HEAD_WEIGHT = 20.0
"""Largest weight of a head; reached when its label is known for 1/20 of the labelled images."""


def class_weights(counts: LabelCounts) -> tuple[FloatArray, FloatArray]:
    """Return the weights (19,) of a positive and of a negative of each head; 0 for a head without both classes.

    Within a head the two classes balance, up to `MAX_IMBALANCE`, and the mean weight over its known images is 1. Each
    head is then multiplied by the inverse of its known fraction, so that all heads have the same weight, and divided by
    the number of heads. The weights are constants of the training labels, so the loss is a plain mean for any world
    size.
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
    """Return the mean over images of the known heads' weighted cross-entropies; unknown heads give no gradient."""
    logit_BV = logit_BV.float()
    weight_BV = p_BV * positive_weight_V + (1.0 - p_BV) * negative_weight_V
    # `where` instead of a product: a non-finite logit of an unknown head must not reach the gradient.
    per_head_BV = F.binary_cross_entropy_with_logits(logit_BV, p_BV, weight=weight_BV, reduction="none")
    return torch.where(known_BV, per_head_BV, 0.0).sum(dim=1).mean()


class DiagnosisLearner(Learner):
    """A network of the annotator's kind in training, on any set of labelled images."""

    config: AnnotatorConfig
    inputs: ReadAhead[ImageBatch]

    def __init__(
        self,
        training: TrainingSet,
        config: AnnotatorConfig,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
        *,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Build the network and count the training labels.

        Args:
            start: initial weights in place of the file that `config.init_from` names.

        Raises:
            WrongInputError: no label has both values in the training set, or no initial weight fits the network.
        """
        self.counts = training.count()
        # Images without a label to learn from are omitted, because they would make the effective batch smaller.
        self.teaching = teaching = self.counts.teaching()
        if not len(teaching):
            raise WrongInputError(
                f"{training.name}: no label has both values in its {len(self.counts.expert_NK)} training images;"
                " add labelled images"
            )
        # The initial weights depend only on the seed, so all workers start with the same network.
        torch.manual_seed(derive_seed("weights", config.seed))
        self.spec = spec = ModelSpec.of(config.architecture, config.image_size_px)
        network = build_annotator(spec.architecture, NUM_VALUES, config.dropout, spec.model_args)
        self.fresh_tensors = self._initialise(network, config, start)
        super().__init__(network, config, device, rank, world_size)
        self._weights = tuple(torch.from_numpy(w_V).to(device) for w_V in class_weights(self.counts))
        self.inputs = ReadAhead(
            lambda positions: training.batch(teaching[image_indices(config.seed, positions, len(teaching))])
        )

    @staticmethod
    def _initialise(
        network: nn.Module, config: AnnotatorConfig, start: Mapping[str, Tensor] | None
    ) -> tuple[str, ...] | None:
        """Load the initial weights; return the tensors without one, or None if there are no initial weights."""
        if start is not None:
            return tuple(load_fitting(network, start, "start: no initial weight"))
        return tuple(initialise(network, config.init_from)) if config.init_from is not None else None

    def loss(self, positions: range) -> Tensor:
        """Return the masked loss of the images at these global sample positions, augmented."""
        config = self.config
        batch = self.inputs.take(positions)
        x_BCHW = preprocess(torch.from_numpy(batch.images_BHWC).to(self.device), config.image_size_px)
        p_BV = torch.from_numpy(batch.p_BV).to(self.device)
        x_BCHW, p_BV = augment(x_BCHW, p_BV, config, config.seed, positions)
        # Dropout uses torch's global generator. It is reseeded for each batch, so a checkpoint need not hold its state.
        torch.manual_seed(derive_seed("dropout", config.seed, positions.start))
        logit_BV = self.forward_network(x_BCHW)
        known_BV = torch.from_numpy(expand_known(batch.expert_BK)).to(self.device)
        return masked_loss(logit_BV, p_BV, known_BV, *self._weights)


class AnnotatorLearner(DiagnosisLearner):
    """The annotator in training on one split of prepared images; on the split `judge`, the judge."""

    def __init__(
        self,
        images: PreparedImages,
        config: AnnotatorConfig,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
        *,
        split: str = "train",
    ) -> None:
        """Build the network and count the training labels; see `DiagnosisLearner`."""
        self.images = images
        super().__init__(SplitSet(images, split), config, device, rank, world_size)

    def save(self, storage: Storage, folder: str, digest: str) -> AnnotatorScores:
        """Calibrate on the validation split, measure on validation and test, and write the annotator to `folder`.

        Called on rank 0 only.

        Args:
            digest: digest of everything that the training depends on.

        Returns:
            The content of `metrics.json`.
        """
        scorer = NetworkScorer(self.network, self.spec, self.device)
        splits = {split: predict_split(scorer, self.images, split) for split in HELD_OUT_SPLITS}
        assessment = assess(splits, self.counts, fresh_tensors=self.fresh_tensors)
        manifest = AnnotatorManifest(digest=digest, data=self.images.folder)
        save_network(storage, folder, self.network, self.spec, assessment, manifest)
        return assessment.scores
