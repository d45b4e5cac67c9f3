"""Write and read cells below `cells/<digest>/`.

The files of a cell lie in the folder of an attempt, beside the manifest: `0/cell.json`, `0/config.json` and
`0/model.safetensors` in timm's layout, and `0/predictions.parquet`. A cell that was not computed has the record only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from safetensors.torch import load as load_tensors
from torch import Tensor

from synfundus.diagnosis.manifest import WEIGHTS
from synfundus.errors import AlreadyExistsError
from synfundus.storage import Storage, Written, is_complete, read_manifest, read_record, read_trusted, write_manifest
from synfundus.transfer.cells import Cell
from synfundus.transfer.manifest import RECORD, CellManifest, cell_folder
from synfundus.transfer.records import CellRecord


@dataclass(frozen=True)
class Outcome:
    """Record and other files of a cell, before they are written."""

    record: CellRecord
    files: Mapping[str, bytes]

    @classmethod
    def not_computed(cls, cell: Cell, reason: str) -> "Outcome":
        """Return the outcome of a cell that cannot be trained."""
        return cls(CellRecord(cell=cell, reason=reason), {})


def write_cell(storage: Storage, cell: Cell, outcome: Outcome) -> None:
    """Write a cell, its manifest last. If another process completed the same cell meanwhile, that one stays."""
    folder = cell_folder(cell.digest)
    attempt, written = _write_files(storage, folder, {RECORD: outcome.record.to_json(), **outcome.files})
    try:
        write_manifest(storage, folder, written, CellManifest(digest=cell.digest, attempt=attempt))
    except AlreadyExistsError:
        if not is_complete(storage, folder):
            raise


def _write_files(storage: Storage, folder: str, files: Mapping[str, bytes]) -> tuple[int, list[Written]]:
    """Write the files to the first attempt's folder that holds no other content; return its number and the objects."""
    for attempt in count():
        try:
            return attempt, [storage.write_once(f"{folder}/{attempt}/{name}", data) for name, data in files.items()]
        except AlreadyExistsError:  # of an interrupted attempt, on hardware that rounds differently
            continue
    raise AssertionError  # `count` does not end


def read_cell(storage: Storage, digest: str) -> tuple[CellManifest, CellRecord]:
    """Return manifest and record of a complete cell.

    Raises:
        WrongInputError: the cell is not complete.
        StorageError: a file differs from the manifest.
    """
    folder = cell_folder(digest)
    manifest = read_manifest(storage, folder, CellManifest)
    return manifest, read_record(storage, folder, f"{manifest.attempt}/{RECORD}", manifest, CellRecord)


def read_network(storage: Storage, digest: str) -> dict[str, Tensor]:
    """Return the weights of a complete cell.

    Raises:
        WrongInputError: the cell is not complete.
        StorageError: the cell has no network, or its file differs from the manifest.
    """
    folder = cell_folder(digest)
    manifest = read_manifest(storage, folder, CellManifest)
    tensors: dict[str, Tensor] = load_tensors(read_trusted(storage, folder, f"{manifest.attempt}/{WEIGHTS}", manifest))
    return tensors
