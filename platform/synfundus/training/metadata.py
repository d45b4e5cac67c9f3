"""Records of a training in progress: the loss curve and what a checkpoint stores besides tensors."""

from typing import Literal

from synfundus.metadata import Metadata

CHECKPOINT_FILE = "checkpoint.json"
"""File of every checkpoint below `runs/<run>/`."""
LOSSES_FILE = "losses.json"
"""Loss curve of a training, in `runs/<run>/`."""


class StepMetrics(Metadata):
    """Metrics of one optimiser step."""

    step: int
    """Optimiser steps done, counted from 1."""
    loss: float
    """Mean loss of the batch on rank 0."""
    gradient_norm: float
    """Norm of the gradient over all workers, before it is clipped."""
    learning_rate: float


class HeldOutLoss(Metadata):
    """Loss of the averaged weights on validation images, at one checkpoint."""

    step: int
    """Optimiser steps done."""
    loss: float
    """Mean loss per image, with the weights of the training's loss; noise and timesteps are the same at each step."""
    num_images: int
    """Number of validation images that the mean is over."""


class CanaryRatios(Metadata):
    """Samples with the conditions of canaries (patients whom the training repeats), for one number of repeats."""

    repeats: int
    """Times that each photograph of these patients counts in the training."""
    num_patients: int
    num_samples: int
    """Samples with the condition of one of these patients."""
    ratios: tuple[float, ...]
    """Distance ratio of each sample whose nearest training image shows the patient with its condition."""


class MemorisationPoint(Metadata):
    """Distance ratios of a few samples to the training images, at one checkpoint."""

    step: int
    """Optimiser steps done."""
    space: str
    """Space of the distances, in words."""
    ratios: tuple[float, ...]
    """Distance ratio of each sample."""
    canaries: tuple[CanaryRatios, ...] = ()
    """An entry per number of repeats; empty without canaries."""


class LossCurve(Metadata):
    """`losses.json` of a run: an entry every `log_every_steps` steps."""

    version: Literal[1] = 1
    """Schema of this record."""
    steps: tuple[StepMetrics, ...] = ()
    held_out: tuple[HeldOutLoss, ...] = ()
    """An entry every `checkpoint_every_steps` steps; empty for a model without a held-out loss."""


class CheckpointMetadata(Metadata):
    """Metadata stored beside the tensors of a checkpoint; enough to resume the training."""

    version: Literal[1] = 1
    """Schema of this record."""
    step: int
    """Optimiser steps done."""
    losses: tuple[StepMetrics, ...]
    """Loss curve up to this step."""
    held_out_losses: tuple[HeldOutLoss, ...]
    """Losses on validation images up to this step."""
    memorisation: tuple[MemorisationPoint, ...] = ()
    """Distance ratios of samples to the training images up to this step; empty for a model without them."""
