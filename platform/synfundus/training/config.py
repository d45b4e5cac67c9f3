"""Settings that both trainings share."""

from pydantic import Field

from synfundus.config import Config
from synfundus.errors import WrongInputError
from synfundus.resources import TrainingResources


def moved_to_resources(section: str) -> dict[str, str]:
    """Return where the resources of the study's `section` moved to, by their old key."""
    keys = {key: key for key in ("num_workers", "num_threads", "precision")} | {"use_gpu": "num_gpus"}
    return {old: f"{section}.resources.{new}" for old, new in keys.items()}


class OptimisationConfig(Config):
    """Optimiser, learning-rate curve and batches of a training. All of them are part of the run's digest."""

    num_steps: int = Field(ge=1)
    """Optimiser steps."""
    batch_size: int = Field(ge=1)
    """Images per step, over all workers and accumulation steps."""
    learning_rate: float = Field(gt=0.0)
    """Peak of the learning-rate curve, reached after warm-up."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps of linear warm-up from 0."""
    final_learning_rate_fraction: float = Field(default=0.0, ge=0.0, le=1.0)
    """Learning rate at the end of the cosine decay, as a fraction of the peak; 1 means no decay."""
    weight_decay: float = Field(default=0.01, ge=0.0)
    """AdamW's decoupled weight decay; not applied to norms and biases."""
    beta_2: float = Field(default=0.99, ge=0.0, lt=1.0)
    """AdamW's second-moment decay."""
    max_gradient_norm: float = Field(default=1.0, gt=0.0)
    """Largest norm of the gradient; a larger gradient is scaled down to it."""
    accumulation_steps: int = Field(default=1, ge=1)
    """Micro-batches into which each worker cuts its share of a batch."""
    seed: int = 0
    """Seed of the initial weights, the order of images and every random number of the training."""
    checkpoint_every_steps: int = Field(default=500, ge=1)
    """Steps between two checkpoints."""
    log_every_steps: int = Field(default=25, ge=1)
    """Steps between two entries of the loss curve."""
    resources: TrainingResources = TrainingResources()
    """Workers, threads, GPUs and precision."""

    def require_even_batch(self, num_workers: int, place: str) -> None:
        """Refuse a batch that does not divide evenly among workers and accumulation steps.

        Args:
            num_workers: workers of the training.
            place: place of `batch_size`, for the message.

        Raises:
            WrongInputError: `batch_size` is not a multiple of workers times accumulation steps.
        """
        if self.batch_size % (num_workers * self.accumulation_steps):
            raise WrongInputError(
                f"{place}: {self.batch_size} is not a multiple of {num_workers} workers"
                f" x {self.accumulation_steps} accumulation steps; change one of the three"
            )
