"""Manifests of `cells/<digest>/` and `transfers/<study>/`, and the names of their files."""

from typing import Final, Literal

from synfundus.storage import Manifest

CELLS: Final = "cells"
RECORD: Final = "cell.json"
PREDICTIONS: Final = "predictions.parquet"
RESULTS: Final = "results.json"


class CellManifest(Manifest):
    """Manifest of a trained cell. `digest` is that of the cell, which also names the folder."""

    kind: Literal["cell"] = "cell"
    attempt: int
    """Folder that holds the files, relative to the cell's: 0, or more if an interrupted attempt left other bytes."""


class TransferManifest(Manifest):
    """Manifest of the results of a study's grid."""

    kind: Literal["transfer"] = "transfer"


def cell_folder(digest: str) -> str:
    """Return the folder of a cell below the root."""
    return f"{CELLS}/{digest}"


def predictions_file(digest: str) -> str:
    """Return the file with the predictions of a cell, relative to `transfers/<study>/`."""
    return f"predictions/{digest}.parquet"
