"""Settings that both trainings share."""

from typing import Literal

from pydantic import Field

from synfundus.config import Config


class OptimisationConfig(Config):
    """How a model is trained. Everything here is part of the run's digest."""

    num_steps: int = Field(ge=1)
    """Optimiser steps."""
    batch_size: int = Field(ge=1)
    """Images a step, over all workers and accumulation steps."""
    learning_rate: float = Field(gt=0.0)
    """Peak of the curve, after warm-up."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps of linear warm-up from 0."""
    final_learning_rate_fraction: float = Field(default=0.0, ge=0.0, le=1.0)
    """Where the cosine decay ends, as a fraction of the peak; 1 is no decay."""
    weight_decay: float = Field(default=0.01, ge=0.0)
    """AdamW's decoupled weight decay; norms and biases have none."""
    beta_2: float = Field(default=0.99, ge=0.0, lt=1.0)
    """AdamW's second-moment decay."""
    max_gradient_norm: float = Field(default=1.0, gt=0.0)
    """The gradient is scaled down to this norm."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """bf16 is autocast; weights and optimiser state stay fp32."""
    accumulation_steps: int = Field(default=1, ge=1)
    """A worker's share of the batch is cut into this many micro-batches."""
    seed: int = 0
    num_workers: int = Field(default=1, ge=1)
    """World size. A recipe value, never read off the machine: it changes rounding."""
    num_threads: int = Field(default=2, ge=1)
    """Threads a worker. A recipe value for the same reason."""
    use_gpu: bool = False
    """One GPU a worker and nccl; otherwise CPU and gloo."""
    checkpoint_every_steps: int = Field(default=500, ge=1)
    log_every_steps: int = Field(default=25, ge=1)
