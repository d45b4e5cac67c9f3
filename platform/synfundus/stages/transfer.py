"""Stage `transfer`: train networks with and without the samples, and test them on photographs."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from synfundus.digests import content_digest
from synfundus.errors import WrongInputError
from synfundus.fundus.manifest import DataManifest
from synfundus.progress import show_progress
from synfundus.samples.manifest import SamplesManifest
from synfundus.stages.record import Basis
from synfundus.stages.requirements import require_gpu
from synfundus.stages.stage import Rows, Stage
from synfundus.storage import Storage, is_complete, manifest_digest, read_manifest
from synfundus.study import Study
from synfundus.transfer.config import TransferConfig
from synfundus.transfer.grid import Grid, GridInputs, GridRow, annotator_settings, make_grid
from synfundus.transfer.manifest import cell_folder
from synfundus.transfer.results import Place, TransferResults, read_results

NO_SECTION = "transfer: the study has no section `transfer`; add one, as docs/transfer.md describes"


@dataclass(frozen=True)
class TransferSummary:
    """Which cells were computed, and the validation AUC of each arm."""

    results: TransferResults

    def rows(self) -> Rows:
        """Return the summary as lines for the user's screen."""
        places = self.results.places
        trained = [place for place in places if place.trained is not None]
        networks = {place.trained.digest for place in trained if place.trained is not None}
        reasons = Counter(f"{place.arm}: {place.reason}" for place in places if place.trained is None)
        return [
            ("networks", f"{len(networks)} for {len(trained)} of {len(places)} places of the grid"),
            *((arm.name, words) for arm in self.results.arms if (words := self._validation_auc(arm.name))),
            *(("not computed", f"{reason} ({count} places)") for reason, count in reasons.items()),
        ]

    def _validation_auc(self, arm: str) -> str:
        """Return the mean over seeds of an arm's largest validation AUC, by architecture and fraction; else nothing."""
        places = [place for place in self.results.places if place.arm == arm and place.trained is not None]
        words = []
        for (architecture, fraction), group in groupby(places, key=lambda p: (p.architecture, p.fraction)):
            best = [_best_auc(place) for place in group]
            words.append(f"{architecture}{_at(fraction)} {sum(best) / len(best):.3f}")
        return f"validation AUC {', '.join(words)}" if words else ""


def _best_auc(place: Place) -> float:
    assert place.trained is not None
    return max(point.auc for point in place.trained.curve)


def _at(fraction: float | None) -> str:
    return "" if fraction is None else f" at {100 * fraction:g} %"


class TransferStage(Stage[None]):
    """Networks trained with and without the samples."""

    name = "transfer"
    help = "Train and test networks with and without the samples."

    def inputs(self, study: Study) -> tuple[str, ...]:
        uses_samples = study.transfer is not None and study.transfer.uses_samples
        return (study.data_folder, study.samples_folder) if uses_samples else (study.data_folder,)

    def output(self, study: Study) -> str:
        return study.transfer_folder

    def is_part_of(self, study: Study) -> bool:
        return study.transfer is not None

    def basis(self, study: Study, storage: Storage) -> Basis:
        inputs = _read_inputs(study, storage)
        return {
            "transfer": study.public["transfer"],
            "annotator": annotator_settings(_section(study), study.annotator),
            "inputs": {
                "data": inputs.data,
                "samples": inputs.samples,
                **{f"external {name}": digest for name, digest in inputs.external.items()},
                **{f"{arm} {architecture}": digest for (arm, architecture), digest in inputs.weights.items()},
            },
        }

    def check(self, study: Study, storage: Storage) -> None:
        from synfundus.diagnosis.model import require_architecture

        config = _section(study)
        for architecture in config.architectures:
            require_architecture(architecture, "transfer.architectures")
        study.annotator.require_even_batch(config.resources.num_workers, "annotator.batch_size")
        require_gpu("transfer.resources", config.resources)
        for name in config.external:
            if f"data/{name}" == study.data_folder:
                raise WrongInputError(f"transfer.external: {name} is the study's own dataset; name another one")
            read_manifest(storage, f"data/{name}", DataManifest)

    def describe(self, study: Study, storage: Storage, found: None) -> Rows:  # noqa: ARG002  nothing was found
        config, grid = _section(study), _grid(study, storage)
        cached = {digest for digest in grid.cells if is_complete(storage, cell_folder(digest))}
        num_steps = sum(cell.num_steps for digest, cell in grid.cells.items() if digest not in cached)
        rows = [
            ("cells", f"{len(grid.cells)} for {len(grid.rows)} places of the grid, {len(cached)} cached"),
            ("train", f"{num_steps} steps; learning rates: {', '.join(map('{:g}'.format, _rates(study, config)))}"),
        ]
        for number, wave in enumerate(grid.waves, 1):
            digests = {cell.digest for cell in wave}
            rows.append((f"wave {number}", f"{len(digests)} cells, {len(digests & cached)} cached"))
        rows += [(row.arm, f"not computed: {row.reason}") for row in _first_of_each_reason(grid)]
        rows += _cell_rows(grid, cached)
        return [*rows, ("write", f"cells and {study.transfer_folder} below {storage.root}")]

    def run(self, study: Study, storage: Storage, digest: str, found: None) -> None:  # noqa: ARG002  nothing was found
        from synfundus.stages.transfer_tasks import train_grid
        from synfundus.transfer.collect import collect_results
        from synfundus.transfer.selection import require_selectable
        from synfundus.transfer.sources import CellPlaces

        config, grid = _section(study), _grid(study, storage)
        require_selectable(storage, study.data_folder)
        weights = {
            digest: config.arms[arm].weights[architecture]
            for (arm, architecture), digest in _read_inputs(study, storage).weights.items()
        }
        external = {name: f"data/{name}" for name in config.external}
        places = CellPlaces(storage, study.data_folder, study.samples_folder, external, weights)
        with show_progress(self.name, grid.num_steps, "steps") as progress:
            train_grid(places, grid, config.resources, self.run_name(study), progress)
        collect_results(places, config, grid, study.transfer_folder, digest)

    def summary(self, study: Study, storage: Storage) -> TransferSummary:
        return TransferSummary(read_results(storage, study.transfer_folder))

    def num_workers(self, study: Study) -> int:
        resources = None if study.transfer is None else study.transfer.resources
        return 0 if resources is None else max(resources.num_workers, resources.pool_size)


def _section(study: Study) -> TransferConfig:
    """Return the section `transfer`.

    Raises:
        WrongInputError: the study has none.
    """
    if study.transfer is None:
        raise WrongInputError(NO_SECTION)
    return study.transfer


def _read_inputs(study: Study, storage: Storage) -> GridInputs:
    """Return the digests of everything that the grid reads.

    Raises:
        WrongInputError: a dataset or the samples are not complete.
    """
    config = _section(study)
    samples = read_manifest(storage, study.samples_folder, SamplesManifest) if config.uses_samples else None
    return GridInputs(
        data=manifest_digest(read_manifest(storage, study.data_folder, DataManifest)),
        samples=None if samples is None else manifest_digest(samples),
        external={
            name: manifest_digest(read_manifest(storage, f"data/{name}", DataManifest)) for name in config.external
        },
        weights=_weights(config),
    )


def _weights(config: TransferConfig) -> Mapping[tuple[str, str], str]:
    """Return the digest of each file of weights that can be read, by arm and architecture."""
    found = {}
    for name, arm in config.arms.items():
        for architecture, path in arm.weights.items():
            try:
                found[name, architecture] = content_digest(Path(path), f"transfer.arms.{name}.weights.{architecture}")
            except WrongInputError:  # an absent file is no mistake: the arm is listed as not computed
                continue
    return found


def _rates(study: Study, config: TransferConfig) -> tuple[float, ...]:
    return config.learning_rates or (study.annotator.learning_rate,)


def _grid(study: Study, storage: Storage) -> Grid:
    return make_grid(_section(study), study.annotator, _read_inputs(study, storage))


def _first_of_each_reason(grid: Grid) -> list[GridRow]:
    """Return one place for each reason not to compute a cell."""
    return list({row.reason: row for row in grid.rows if row.cell is None}.values())


def _cell_rows(grid: Grid, cached: set[str]) -> Rows:
    """Return a line for each arm, architecture and fraction: the seeds, and which of their cells are cached."""
    rows = []
    computed = [row for row in grid.rows if row.cell is not None]
    placed = {row.cell.digest for row in computed if row.cell is not None}
    computed += [
        GridRow("pre-training", cell.training.architecture, None, cell.training.seed, cell)
        for cell in sorted(grid.parents, key=lambda cell: (cell.training.architecture, cell.training.seed))
        if cell.digest not in placed
    ]
    for (arm, architecture, fraction), group in groupby(computed, key=lambda r: (r.arm, r.architecture, r.fraction)):
        cells = {row.seed: row.cell for row in group if row.cell is not None}
        seeds = [f"{seed}{' (cached)' if cell.digest in cached else ''}" for seed, cell in cells.items()]
        wave = 1 if all(cell.parent is None for cell in cells.values()) else 2
        rows.append((arm, f"{architecture}{_at(fraction)}, wave {wave}, seeds {', '.join(seeds)}"))
    return rows
