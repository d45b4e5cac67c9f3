"""Resources of a stage: workers, threads, GPUs, precision. Each stage has its own in the study."""

from typing import Literal, Self

from pydantic import Field, model_validator

from synfundus.config import Config

Precision = Literal["fp32", "bf16"]


class Resources(Config):
    """Resources of one worker."""

    num_threads: int = Field(default=1, ge=1)
    """Threads of a worker. Stated, never read off the machine, because the number of threads changes rounding."""
    num_gpus: float = Field(default=0.0, ge=0.0, le=1.0)
    """GPUs of a worker: 0 for the CPU, 1 for a GPU of its own, a fraction to share one."""

    @property
    def device(self) -> str:
        """Device of a worker, in torch's words."""
        return "cuda" if self.num_gpus else "cpu"


class PoolResources(Resources):
    """Resources of a stage that maps independent items of work over a pool of workers."""

    pool_size: int = Field(default=2, ge=1)
    """Workers. No result depends on their number."""


class SamplingResources(PoolResources):
    """Resources of sampling; threads and precision are part of what a sample is."""

    precision: Precision = "bf16"
    """Arithmetic of the U-Net: `bf16` is autocast."""


class TrainingResources(Resources):
    """Resources of a training. All of them are part of the run's digest."""

    num_threads: int = Field(default=2, ge=1)
    """Threads of a worker. Stated, never read off the machine, because the number of threads changes rounding."""
    num_workers: int = Field(default=1, ge=1)
    """World size. Stated, never read off the machine, because it changes rounding."""
    precision: Precision = "bf16"
    """Arithmetic of forward and backward pass: `bf16` is autocast; weights and optimiser state stay fp32."""

    @model_validator(mode="after")
    def _check_gpus(self) -> Self:
        if self.num_workers > 1 and 0 < self.num_gpus < 1:
            raise ValueError(
                f"num_gpus: {self.num_workers} workers cannot share a GPU (nccl needs one per worker);"
                " set num_gpus to 1, or num_workers to 1"
            )
        return self
