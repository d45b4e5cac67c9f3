"""Settings of the stage `transfer`: arms, fractions of the patients, architectures, seeds, and selection."""

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from synfundus.config import NAME_PATTERN, Config
from synfundus.labels import SampleLabels
from synfundus.resources import TrainingResources

ARM_PATTERN: Final = r"^[a-z0-9][a-z0-9.-]{0,62}$"
"""Form of an arm's name."""
Start = Literal["scratch", "samples", "shuffled", "weights"]


class ArmConfig(Config):
    """One way to train: initial weights and images. By default, from scratch on photographs."""

    start: Start = "scratch"
    """Initial weights. `samples`: a network of the same architecture and seed, trained on all accepted samples.
    `shuffled`: as `samples`, with the labels shuffled among the samples. `weights`: those of `weights`."""
    train: Literal["photographs", "samples", "shuffled"] = "photographs"
    """Images of the last training: photographs of the training split, all accepted samples, or these samples with their
    labels shuffled among them."""
    added_samples: float | None = Field(default=None, gt=0.0)
    """Number of samples that are added to the photographs, as a multiple of the number of photographs."""
    weights: dict[str, str] = Field(default_factory=dict)
    """File of initial weights of each architecture, for `start: weights`: a folder with model.safetensors, or a
    .safetensors or .pth file. The arm is not computed for an architecture without a file."""
    architectures: tuple[str, ...] | None = None
    """Architectures that the arm is computed for; null: all of `transfer.architectures`."""

    @model_validator(mode="after")
    def _consistent(self) -> "ArmConfig":
        if self.train != "photographs" and self.start in ("samples", "shuffled"):
            raise ValueError(f"start: {self.start} needs train: photographs, because {self.train} are samples already")
        if self.train != "photographs" and self.added_samples is not None:
            raise ValueError("added_samples: samples are added to photographs only; set train: photographs")
        if self.weights and self.start != "weights":
            raise ValueError("weights: are given, but start is not 'weights'; set start: weights, or remove them")
        return self

    @property
    def uses_samples(self) -> bool:
        """True if any training of the arm reads samples."""
        return self.train != "photographs" or self.start in ("samples", "shuffled") or self.added_samples is not None


DEFAULT_ARMS: Final = {
    "real": ArmConfig(),
    "scratch": ArmConfig(),
    "synthetic": ArmConfig(train="samples"),
    "synthetic-shuffled": ArmConfig(train="shuffled"),
    "real-plus-0.5": ArmConfig(added_samples=0.5),
    "real-plus-1": ArmConfig(added_samples=1.0),
    "real-plus-2": ArmConfig(added_samples=2.0),
    "real-plus-5": ArmConfig(added_samples=5.0),
    "pretrained": ArmConfig(start="samples"),
    "pretrained-shuffled": ArmConfig(start="shuffled"),
    "imagenet": ArmConfig(start="weights"),
}
"""Arms of a study that names none."""


class CellResources(TrainingResources):
    """Resources of the cells. Threads, workers and precision change rounding, so they are part of a cell's digest."""

    num_threads: int = Field(default=1, ge=1)
    """Threads of a worker. Stated, never read off the machine, because the number of threads changes rounding."""
    num_workers: int = Field(default=1, ge=1)
    """Workers of one cell. With more than one, the cells run one after the other on Ray Train."""
    pool_size: int = Field(default=2, ge=1)
    """Cells that are trained at once, if a cell has one worker. No result depends on it."""

    def of_a_training(self) -> TrainingResources:
        """Return the resources of one cell."""
        return TrainingResources.model_validate(self.model_dump(exclude={"pool_size"}))


class TransferConfig(Config):
    """The grid: arms x architectures x seeds x fractions of the patients. All else is as in the section `annotator`."""

    arms: dict[Annotated[str, StringConstraints(pattern=ARM_PATTERN)], ArmConfig] = Field(
        default_factory=lambda: dict(DEFAULT_ARMS), min_length=1
    )
    """Arms by name. Default: `real`, `scratch`, `synthetic`, `synthetic-shuffled`, `real-plus-0.5` to `real-plus-5`,
    `pretrained`, `pretrained-shuffled` and `imagenet`."""
    architectures: tuple[str, ...] = Field(min_length=1)
    """Model names in timm's registry, for example resnet10t and vit_tiny_patch16_224."""
    fractions: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(default=(1.0, 0.1, 0.01), min_length=1)
    """Fractions of the training patients whose photographs are used. Those of one seed are nested."""
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    """Seeds: each one decides the patients, the initial weights, and the order and augmentation of the images."""
    sample_labels: SampleLabels = "requested"
    """Label of a sample that is learnt: `requested`, `predicted` by the annotator, or `agreeing`: only where both are
    known and equal."""
    learning_rates: tuple[Annotated[float, Field(gt=0.0)], ...] = ()
    """Peaks of the learning-rate curve; the one with the largest validation AUC is kept. Default: that of
    `annotator`."""
    num_steps: int | None = Field(default=None, ge=1)
    """Optimiser steps on photographs, with or without added samples. Default: those of `annotator`."""
    num_steps_on_samples: int | None = Field(default=None, ge=1)
    """Optimiser steps on samples alone, which is also the pre-training. Default: `num_steps`."""
    evaluate_every_steps: int = Field(default=50, ge=1)
    """Steps between two measures of the validation AUC, from which the best step is chosen."""
    external: tuple[Annotated[str, StringConstraints(pattern=NAME_PATTERN)], ...] = ()
    """Datasets below `data/` of the root that are test sets as a whole. Nothing is selected or calibrated on them."""
    resources: CellResources = CellResources()
    """Resources of the cells."""

    @field_validator("architectures", "fractions", "seeds", "learning_rates", "external")
    @classmethod
    def _distinct(cls, values: tuple[float | str, ...]) -> tuple[float | str, ...]:
        if len(set(values)) < len(values):
            raise ValueError("names a value twice; remove one")
        return values

    @model_validator(mode="after")
    def _known_architectures(self) -> "TransferConfig":
        for name, arm in self.arms.items():
            for architecture in (*(arm.architectures or ()), *arm.weights):
                if architecture not in self.architectures:
                    raise ValueError(f"arms.{name}: {architecture!r} is not one of architectures; add it there")
        return self

    @property
    def uses_samples(self) -> bool:
        """True if any arm reads samples."""
        return any(arm.uses_samples for arm in self.arms.values())
