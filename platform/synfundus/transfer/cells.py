"""Cells of the grid: everything that one trained network and its predictions depend on.

The digest of a cell names its folder, so equal cells of all arms, studies and runs below a root are trained once.
"""

from pydantic import JsonValue, field_serializer

from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.digests import digest_of
from synfundus.labels import SampleLabels
from synfundus.metadata import Metadata


class PhotographChoice(Metadata):
    """Photographs that a cell trains on: those of some patients of the training split."""

    data: str
    """SHA-256 of the manifest of the dataset."""
    fraction: float
    """Fraction of the training patients; the seed of the training chooses them."""


class SampleChoice(Metadata):
    """Samples that a cell trains on."""

    samples: str
    """SHA-256 of the manifest of the samples."""
    labels: SampleLabels
    shuffled: bool
    """True for the control, whose labels are shuffled among the samples."""
    ratio: float | None
    """Number of samples as a multiple of the number of photographs; null: all accepted samples."""


class Cell(Metadata):
    """One trained network: its images, initial weights and settings, and the datasets that it is tested on."""

    training: AnnotatorConfig
    """Settings of a training; `learning_rate` is the first of `learning_rates`. In JSON they lack what changes no
    result: `init_from` (see `parent` and `weights`), `log_every_steps` and `resources.num_gpus`."""
    learning_rates: tuple[float, ...]
    """Peaks of the learning-rate curve, one for each trial."""
    photographs: PhotographChoice | None
    samples: SampleChoice | None
    parent: str | None = None
    """Digest of the cell whose network is the start."""
    weights: str | None = None
    """SHA-256 of the file of initial weights."""
    held_out: str
    """SHA-256 of the manifest of the dataset whose validation split selects and whose test split measures."""
    external: dict[str, str]
    """SHA-256 of the manifest of each external dataset, by its name."""

    @field_serializer("training")
    def _leave_out(self, training: AnnotatorConfig) -> dict[str, JsonValue]:
        return training.model_dump(
            mode="json", exclude={"init_from": True, "log_every_steps": True, "resources": {"num_gpus": True}}
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the cell's JSON."""
        # Not cached: `model_copy` would hand the cache on to a cell with other values.
        return digest_of(self.model_dump(mode="json"))

    @property
    def num_steps(self) -> int:
        """Optimiser steps of all trials."""
        return self.training.num_steps * len(self.learning_rates)

    def trial_config(self, number: int) -> AnnotatorConfig:
        """Return the settings of trial `number`."""
        return self.training.model_copy(update={"learning_rate": self.learning_rates[number]})
