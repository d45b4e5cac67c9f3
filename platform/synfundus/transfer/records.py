"""Record of a trained cell, `cell.json`: curves of its trials, the chosen one, and what it was trained on."""

from typing import Literal

from synfundus.metadata import Metadata
from synfundus.transfer.cells import Cell


class CurvePoint(Metadata):
    """Validation AUC at one step of a training."""

    step: int
    """Optimiser steps done."""
    auc: float
    """Mean over labels of the AUC on the validation split, see `selection.mean_auc`."""


class Trial(Metadata):
    """A training of a cell at one learning rate."""

    learning_rate: float
    """Peak of the learning-rate curve."""
    curve: tuple[CurvePoint, ...]
    """A point every `evaluate_every_steps` steps and at the last one."""
    diverged: str | None = None
    """Message of a training that diverged; null if it reached its last step."""
    fresh_tensors: tuple[str, ...] | None = None
    """Tensors that did not start from initial weights; null for a start from scratch."""

    @property
    def best(self) -> CurvePoint | None:
        """Point with the largest AUC, the earliest among equal ones; None if there is no point."""
        return max(self.curve, key=lambda point: point.auc) if self.curve else None


class CellImages(Metadata):
    """Images that a cell was trained on, and their labels."""

    num_photographs: int
    num_patients: int
    """Patients of these photographs."""
    num_samples: int
    known: dict[str, int]
    """Number of images whose label is known, by head in `labels.HEAD_NAMES`."""
    positive: dict[str, int]
    """Number of images of the positive class, by head."""


class CellRecord(Metadata):
    """`cell.json`."""

    version: Literal[1] = 1
    """Schema of this record."""
    cell: Cell
    reason: str | None = None
    """Why the cell has no network and no predictions; null if it has."""
    images: CellImages | None = None
    """Null if the images could not be chosen."""
    trials: tuple[Trial, ...] = ()
    """One trial for each learning rate of the cell, in their order."""
    chosen: int | None = None
    """Number of the trial whose weights were kept; null without a network."""
