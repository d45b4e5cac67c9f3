"""Inputs of the cells of a grid: photographs, samples, initial weights, external test sets."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from synfundus.diagnosis.counts import LabelCounts
from synfundus.diagnosis.model import read_weights
from synfundus.diagnosis.training_set import SplitSet, TrainingSet
from synfundus.errors import WrongInputError, WrongWeightsError
from synfundus.fundus.dataset import PreparedImages, read_labels
from synfundus.labels import HEAD_NAMES
from synfundus.storage import Storage
from synfundus.transfer.cells import Cell
from synfundus.transfer.files import read_cell, read_network
from synfundus.transfer.joined import JoinedSet
from synfundus.transfer.records import CellImages
from synfundus.transfer.sample_images import AcceptedSamples, SampleSet
from synfundus.transfer.subsets import nested_patients


@dataclass(frozen=True)
class CellPlaces:
    """Places that the cells of a grid read. Small, because each worker gets a copy."""

    storage: Storage
    data_folder: str
    """Prepared photographs."""
    samples_folder: str
    external: Mapping[str, str]
    """Folder of each external dataset, by name."""
    weights: Mapping[str, str]
    """Path of each file of initial weights on this machine, by its SHA-256."""


@dataclass(frozen=True)
class ChosenImages:
    """Training set of a cell, and the number of images of each kind."""

    images: TrainingSet
    num_photographs: int
    num_patients: int
    num_samples: int

    def described(self, counts: LabelCounts) -> CellImages:
        """Return the record of these images, whose labels are `counts`."""
        return CellImages(
            num_photographs=self.num_photographs,
            num_patients=self.num_patients,
            num_samples=self.num_samples,
            known=dict(zip(HEAD_NAMES, counts.known.tolist(), strict=True)),
            positive=dict(zip(HEAD_NAMES, counts.positive_V.tolist(), strict=True)),
        )


class CellSources:
    """Readers of everything that cells need. A worker opens each one once, when a cell needs it first."""

    def __init__(self, places: CellPlaces) -> None:
        self.places, self.storage = places, places.storage

    @cached_property
    def photographs(self) -> PreparedImages:
        """Reader of the prepared photographs, with the shards on this machine's disk."""
        images = PreparedImages(self.storage, self.places.data_folder)
        images.copy_to_this_machine()
        return images

    @cached_property
    def samples(self) -> AcceptedSamples:
        return AcceptedSamples(self.storage, self.places.samples_folder)

    @cached_property
    def external(self) -> dict[str, PreparedImages]:
        """Readers of the external datasets, by name."""
        return {name: PreparedImages(self.storage, folder) for name, folder in self.places.external.items()}

    def training_images(self, cell: Cell) -> ChosenImages:
        """Return the training set of a cell.

        Raises:
            WrongInputError: fewer samples were accepted than the cell needs.
        """
        seed = cell.training.seed
        if cell.photographs is None:
            assert cell.samples is not None
            samples = SampleSet(self.samples, cell.samples, seed)
            return ChosenImages(samples, 0, 0, samples.num_images)
        photographs, num_patients = self._photographs_of(cell.photographs.fraction, seed)
        if cell.samples is None:
            return ChosenImages(photographs, photographs.num_images, num_patients, 0)
        samples = SampleSet(self.samples, cell.samples, seed, photographs.num_images)
        joined = JoinedSet(photographs, samples)
        return ChosenImages(joined, photographs.num_images, num_patients, samples.num_images)

    def _photographs_of(self, fraction: float, seed: int) -> tuple[SplitSet, int]:
        """Return the photographs of a fraction of the training patients, and the number of these patients."""
        batches = read_labels(self.storage, self.places.data_folder, "train")
        patients = [patient for batch in batches for patient in batch.patients]
        chosen = nested_patients(patients, fraction, seed)
        rows = np.flatnonzero([patient in chosen for patient in patients])
        return SplitSet(self.photographs, "train", rows), len(chosen)

    def missing_start(self, cell: Cell) -> str | None:
        """Return why the cell that this one starts from has no network; None if it has, or if there is no such cell."""
        return None if cell.parent is None else read_cell(self.storage, cell.parent)[1].reason

    def start(self, cell: Cell) -> dict[str, Tensor] | None:
        """Return the initial weights of a cell; None for a start from scratch.

        Raises:
            WrongWeightsError: the file of weights cannot be read.
            StorageError: the cell that it starts from has no network, or its file is damaged.
        """
        if cell.weights is not None:
            try:
                return read_weights(self.places.weights[cell.weights])
            except WrongInputError as error:
                raise WrongWeightsError(str(error)) from error
        return None if cell.parent is None else read_network(self.storage, cell.parent)
