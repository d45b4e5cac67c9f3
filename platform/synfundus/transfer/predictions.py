"""Predictions of the cells of a grid, `predictions/<digest>.parquet` below `transfers/<study>/`."""

from synfundus.diagnosis.held_out import Predictions, decode_held_out
from synfundus.storage import Storage, read_manifest, read_trusted
from synfundus.transfer.manifest import TransferManifest, predictions_file


def external_key(name: str) -> str:
    """Return the key of an external dataset's predictions, beside `validation` and `test`."""
    return f"external/{name}"


def read_predictions(storage: Storage, folder: str, digest: str) -> dict[str, Predictions]:
    """Return the predictions of a cell: on `validation`, on `test`, and on each `external_key`.

    All cells predict the same images in the same order, with the same numbers of patients, so they can be compared in
    pairs. Logits are raw: whoever needs probabilities calibrates them on `validation`.

    Args:
        folder: `transfers/<study>`.
        digest: digest of the cell.

    Raises:
        WrongInputError: the stage has not finished.
        StorageError: there are no such predictions, or the file differs from the manifest.
    """
    manifest = read_manifest(storage, folder, TransferManifest)
    data = read_trusted(storage, folder, predictions_file(digest), manifest)
    return decode_held_out(data, None)
