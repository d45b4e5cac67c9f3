"""Settings of sampling: how many samples, which conditions, which solver, and when a sample is rejected."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from synfundus.config import Config, refusing_value
from synfundus.diffusion.config import SolverConfig
from synfundus.labels import require_requestable
from synfundus.resources import SamplingResources
from synfundus.seeds import SEED_END

ImageFormat = Literal["png", "webp", "jpeg"]


class Quota(Config):
    """A number of samples of one combination of labels."""

    labels: dict[str, int]
    """Requested label values; labels that are not listed are left unknown."""
    count: int = Field(gt=0)
    """Number of samples."""

    @field_validator("labels")
    @classmethod
    def _in_range(cls, labels: dict[str, int]) -> dict[str, int]:
        with refusing_value():
            require_requestable(labels, "quota")
        return labels


class SamplesConfig(Config):
    """Settings of the plan. All but `resources.pool_size` and `resources.num_gpus` are part of the plan's digest."""

    moved: ClassVar[dict[str, str]] = {
        "pool_size": "samples.resources.pool_size",
        "use_gpu": "samples.resources.num_gpus",
        "num_threads": "samples.resources.num_threads",
        "precision": "samples.resources.precision",
        "held_out_quantile": "copy_detector.false_rejection_rate",
    }

    num_samples: int = Field(gt=0)
    """Number of samples in the plan."""
    seed: int = Field(default=0, ge=0, lt=SEED_END)
    """Seed of the plan: it decides the noise of each sample and the order of the conditions."""
    conditions: Literal["real", "balanced", "quotas"] = "real"
    """`real`: the joint distribution of labels in the training split; `balanced`: the same combinations, with rare
    values made more frequent; `quotas`: the combinations that `quotas` lists, and no others."""
    quotas: tuple[Quota, ...] = ()
    """Combinations and their numbers of samples; for `conditions: quotas`."""
    min_patients: int = Field(default=10, ge=2)
    """Smallest number of patients who share a combination; a rarer one is merged into a less specific one."""
    solver: SolverConfig
    """Solver of the denoising."""
    micro_batch: int = Field(default=16, gt=0)
    """Samples denoised in lock step. Fixed by the plan, because the shape of a batch changes rounding."""
    shard_rows: int = Field(default=256, gt=0)
    """Samples per shard; a multiple of `micro_batch`."""
    image_format: ImageFormat = "png"
    """Format of the image files; `png` and `webp` are lossless, `jpeg` has quality 95."""
    max_attempts: int = Field(default=4, gt=0)
    """Attempts at each sample. A rejected sample is sampled again with another seed."""
    resources: SamplingResources = SamplingResources()
    """Workers, threads, GPUs and precision of sampling."""

    @model_validator(mode="after")
    def _consistent(self) -> "SamplesConfig":
        if self.shard_rows % self.micro_batch:
            raise ValueError(
                f"shard_rows {self.shard_rows} is not a multiple of micro_batch {self.micro_batch}; change one of them"
            )
        requested = sum(quota.count for quota in self.quotas)
        if self.conditions == "quotas" and requested != self.num_samples:
            raise ValueError(
                f"the quotas request {requested} samples, but num_samples is {self.num_samples}; make them equal"
            )
        if self.conditions != "quotas" and self.quotas:
            raise ValueError("quotas are given, but conditions is not 'quotas'; set conditions, or remove the quotas")
        return self
