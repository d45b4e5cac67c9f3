"""The grid of a study: arms x architectures x fractions x seeds, as cells in two waves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import JsonValue

from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.transfer.cells import Cell, PhotographChoice, SampleChoice
from synfundus.transfer.config import ArmConfig, TransferConfig


@dataclass(frozen=True)
class GridInputs:
    """Digests of everything that cells read, from manifests and files."""

    data: str
    """SHA-256 of the manifest of the prepared photographs."""
    samples: str | None
    """SHA-256 of the manifest of the samples; None if no arm uses samples."""
    external: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the manifest of each external dataset, by name."""
    weights: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """SHA-256 of each file of initial weights that exists, by arm and architecture."""


@dataclass(frozen=True)
class GridRow:
    """One place of the grid and its cell."""

    arm: str
    architecture: str
    fraction: float | None
    """Fraction of the training patients; None for an arm without photographs."""
    seed: int
    cell: Cell | None
    """None if there is nothing to compute."""
    reason: str | None = None
    """Why there is no cell."""


@dataclass(frozen=True)
class Grid:
    """All places of the grid, and the cells that they need."""

    rows: tuple[GridRow, ...]
    parents: tuple[Cell, ...]
    """Cells that others start from; most of them have a place, too."""

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """Each cell once, by its digest."""
        own = [row.cell for row in self.rows if row.cell is not None]
        return {cell.digest: cell for cell in (*self.parents, *own)}

    @property
    def waves(self) -> tuple[tuple[Cell, ...], ...]:
        """Cells without a parent, then those that start from one of them; long trainings first."""
        ordered = sorted(self.cells.values(), key=lambda cell: -cell.num_steps)
        waves = (
            tuple(cell for cell in ordered if cell.parent is None),
            tuple(cell for cell in ordered if cell.parent is not None),
        )
        return tuple(wave for wave in waves if wave)

    @property
    def num_steps(self) -> int:
        """Optimiser steps of all cells."""
        return sum(cell.num_steps for cell in self.cells.values())


def make_grid(config: TransferConfig, annotator: AnnotatorConfig, inputs: GridInputs) -> Grid:
    """Return the grid of a study.

    Args:
        annotator: settings of the annotator, which hold for what `config` does not state.
    """
    maker = _Maker(config, annotator, inputs)
    rows = tuple(maker.rows())
    return Grid(rows, tuple(maker.parents.values()))


def annotator_settings(config: TransferConfig, annotator: AnnotatorConfig) -> dict[str, JsonValue]:
    """Return the settings of the annotator that hold for the cells, too, as JSON."""
    own = {"architecture", "seed", "init_from", "resources", "checkpoint_every_steps", "log_every_steps"}
    own |= {"num_steps"} if config.num_steps is not None else set()
    own |= {"learning_rate"} if config.learning_rates else set()
    return annotator.model_dump(mode="json", exclude=own)


class _Maker:
    """Builds the cells of a grid."""

    def __init__(self, config: TransferConfig, annotator: AnnotatorConfig, inputs: GridInputs) -> None:
        self.config, self.annotator, self.inputs = config, annotator, inputs
        self.parents: dict[str, Cell] = {}

    def rows(self) -> Iterator[GridRow]:
        for name, arm in self.config.arms.items():
            fractions = self.config.fractions if arm.train == "photographs" else (None,)
            for architecture in arm.architectures or self.config.architectures:
                for fraction in fractions:
                    for seed in self.config.seeds:
                        yield self._row(name, arm, architecture, fraction, seed)

    def _row(self, name: str, arm: ArmConfig, architecture: str, fraction: float | None, seed: int) -> GridRow:
        parent = weights = None
        if arm.start in ("samples", "shuffled"):
            start = self._cell(architecture, seed, samples=self._samples(arm.start == "shuffled"))
            self.parents[start.digest] = start
            parent = start.digest
        elif arm.start == "weights":
            weights = self.inputs.weights.get((name, architecture))
            if weights is None:
                return GridRow(name, architecture, fraction, seed, None, _missing_weights(name, arm, architecture))
        photographs = None if fraction is None else PhotographChoice(data=self.inputs.data, fraction=fraction)
        samples = None
        if arm.train != "photographs":
            samples = self._samples(arm.train == "shuffled")
        elif arm.added_samples is not None:
            samples = self._samples(shuffled=False, ratio=arm.added_samples)
        cell = self._cell(architecture, seed, photographs=photographs, samples=samples, parent=parent, weights=weights)
        return GridRow(name, architecture, fraction, seed, cell)

    def _samples(self, shuffled: bool, ratio: float | None = None) -> SampleChoice:
        assert self.inputs.samples is not None
        return SampleChoice(
            samples=self.inputs.samples, labels=self.config.sample_labels, shuffled=shuffled, ratio=ratio
        )

    def _cell(
        self,
        architecture: str,
        seed: int,
        *,
        photographs: PhotographChoice | None = None,
        samples: SampleChoice | None = None,
        parent: str | None = None,
        weights: str | None = None,
    ) -> Cell:
        config, annotator = self.config, self.annotator
        rates = config.learning_rates or (annotator.learning_rate,)
        num_steps = config.num_steps or annotator.num_steps
        if photographs is None:
            num_steps = config.num_steps_on_samples or num_steps
        changes = {
            "architecture": architecture,
            "seed": seed,
            "num_steps": num_steps,
            "learning_rate": rates[0],
            "checkpoint_every_steps": config.evaluate_every_steps,
            "init_from": None,
            "resources": config.resources.of_a_training(),
        }
        return Cell(
            training=annotator.model_copy(update=changes),
            learning_rates=rates,
            photographs=photographs,
            samples=samples,
            parent=parent,
            weights=weights,
            held_out=self.inputs.data,
            external=dict(self.inputs.external),
        )


def _missing_weights(name: str, arm: ArmConfig, architecture: str) -> str:
    place = f"transfer.arms.{name}.weights.{architecture}"
    if architecture not in arm.weights:
        return f"{place}: no file is named"
    return f"{place}: the file does not exist or cannot be read"
