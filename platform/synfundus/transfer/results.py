"""Results of a study's grid, `results.json` below `transfers/<study>/`. `predictions` reads the file beside it."""

from typing import Literal

from pydantic import Field

from synfundus.labels import SampleLabels
from synfundus.metadata import Metadata
from synfundus.storage import Storage, read_manifest, read_record
from synfundus.transfer.config import Start
from synfundus.transfer.manifest import RESULTS, TransferManifest
from synfundus.transfer.records import CellImages, CurvePoint, Trial


class ArmSummary(Metadata):
    """Definition of an arm. The fields are those of `ArmConfig`, without paths of files."""

    name: str
    start: Start
    train: Literal["photographs", "samples", "shuffled"]
    added_samples: float | None
    weights: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the file of initial weights of each architecture; empty if the arm starts from none."""
    architectures: tuple[str, ...] | None = None
    """Architectures that the arm is computed for; null: all of the grid."""


class ExternalSet(Metadata):
    """An external dataset, all of whose splits are one test set."""

    name: str
    """Name of the dataset below `data/`."""
    num_images: int
    """Images that are predicted."""
    num_excluded: int
    """Images that are not predicted, because their patient is in the study's own dataset."""
    patients_compared: bool
    """False if the two datasets have other keys of the patient hashes, so that shared patients cannot be found."""


class TrainedCell(Metadata):
    """A network that was trained: how, and which weights were kept."""

    digest: str
    """Digest of the cell; places with the same digest are one network. Names the file of its predictions."""
    parent: str | None
    """Digest of the cell that it started from."""
    images: CellImages
    num_steps: int
    """Optimiser steps of one trial."""
    trials: tuple[Trial, ...]
    """One trial for each learning rate."""
    chosen: int
    """Number of the trial whose weights were kept."""

    @property
    def learning_rate(self) -> float:
        """Learning rate that was chosen."""
        return self.trials[self.chosen].learning_rate

    @property
    def curve(self) -> tuple[CurvePoint, ...]:
        """Validation AUC by step, at the chosen learning rate."""
        return self.trials[self.chosen].curve


class Place(Metadata):
    """One place of the grid: an arm, for an architecture, a fraction of the patients and a seed."""

    arm: str
    architecture: str
    fraction: float | None
    """Fraction of the training patients; null for an arm without photographs."""
    seed: int
    trained: TrainedCell | None = None
    """Null if the place was not computed."""
    reason: str | None = None
    """Why it was not computed."""


class TransferResults(Metadata):
    """`results.json`."""

    version: Literal[1] = 1
    """Schema of this record."""
    arms: tuple[ArmSummary, ...]
    """Arms in the order of the study."""
    architectures: tuple[str, ...]
    fractions: tuple[float, ...]
    seeds: tuple[int, ...]
    sample_labels: SampleLabels
    """Label of a sample that was learnt."""
    external: tuple[ExternalSet, ...]
    places: tuple[Place, ...]
    """All places: arm by arm, then by architecture, fraction and seed."""


def read_results(storage: Storage, folder: str) -> TransferResults:
    """Return the results of a complete `transfers/<study>/`.

    Raises:
        WrongInputError: the stage has not finished.
        StorageError: the file differs from the manifest.
    """
    return read_record(storage, folder, RESULTS, read_manifest(storage, folder, TransferManifest), TransferResults)
