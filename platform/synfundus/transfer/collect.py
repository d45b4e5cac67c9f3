"""Collect the cells of a finished grid into `transfers/<study>/`."""

from collections.abc import Mapping

from synfundus.fundus.dataset import PreparedImages
from synfundus.storage import Storage, Written, read_trusted, write_manifest
from synfundus.transfer.config import TransferConfig
from synfundus.transfer.external import describe_external
from synfundus.transfer.files import read_cell
from synfundus.transfer.grid import Grid, GridRow
from synfundus.transfer.manifest import PREDICTIONS, RESULTS, TransferManifest, cell_folder, predictions_file
from synfundus.transfer.records import CellRecord
from synfundus.transfer.results import ArmSummary, ExternalSet, Place, TrainedCell, TransferResults
from synfundus.transfer.sources import CellPlaces


def collect_results(places: CellPlaces, config: TransferConfig, grid: Grid, folder: str, digest: str) -> None:
    """Write the results of a grid whose cells are complete; the manifest is written last.

    Args:
        folder: `transfers/<study>`.
        digest: digest of the stage, for the manifest.
    """
    storage, written, records = places.storage, list[Written](), dict[str, CellRecord]()
    for of_cell in grid.cells:
        manifest, records[of_cell] = read_cell(storage, of_cell)
        file = f"{manifest.attempt}/{PREDICTIONS}"
        if file in manifest.files:
            data = read_trusted(storage, cell_folder(of_cell), file, manifest)
            written.append(storage.write_once(f"{folder}/{predictions_file(of_cell)}", data))
    results = TransferResults(
        arms=tuple(summarise_arm(name, config, grid) for name in config.arms),
        architectures=config.architectures,
        fractions=config.fractions,
        seeds=config.seeds,
        sample_labels=config.sample_labels,
        external=_describe_externals(storage, places),
        places=tuple(_place(row, records) for row in grid.rows),
    )
    written.append(storage.write_once(f"{folder}/{RESULTS}", results.to_json()))
    write_manifest(storage, folder, written, TransferManifest(digest=digest))


def summarise_arm(name: str, config: TransferConfig, grid: Grid) -> ArmSummary:
    """Return the definition of an arm, with the digests of its files of weights."""
    arm = config.arms[name]
    architectures = tuple(found for found in config.architectures if found in (arm.architectures or ()))
    cells = {row.architecture: row.cell for row in grid.rows if row.arm == name and row.cell is not None}
    return ArmSummary(
        name=name,
        start=arm.start,
        train=arm.train,
        added_samples=arm.added_samples,
        weights={found: cell.weights for found, cell in cells.items() if cell.weights is not None},
        architectures=None if architectures in ((), config.architectures) else architectures,
    )


def _describe_externals(storage: Storage, places: CellPlaces) -> tuple[ExternalSet, ...]:
    own = PreparedImages(storage, places.data_folder)
    others = {name: PreparedImages(storage, folder) for name, folder in places.external.items()}
    return tuple(describe_external(name, own, other) for name, other in others.items())


def _place(row: GridRow, records: Mapping[str, CellRecord]) -> Place:
    """Return a place of the grid with the result of its cell."""
    place = Place(arm=row.arm, architecture=row.architecture, fraction=row.fraction, seed=row.seed)
    if row.cell is None:
        return place.model_copy(update={"reason": row.reason})
    record = records[row.cell.digest]
    if record.reason is not None:
        return place.model_copy(update={"reason": record.reason})
    assert record.images is not None
    assert record.chosen is not None
    trained = TrainedCell(
        digest=row.cell.digest,
        parent=row.cell.parent,
        images=record.images,
        num_steps=row.cell.training.num_steps,
        trials=record.trials,
        chosen=record.chosen,
    )
    return place.model_copy(update={"trained": trained})
