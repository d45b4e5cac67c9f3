"""Copies of stored objects, made in other processes. A module of its own, because new processes import it by name."""

from pathlib import Path

from synfundus.storage import LocalCopies, Manifest, open_storage, read_manifest


class Pieces(Manifest):
    """Manifest of a folder of a test."""

    kind: str = "pieces"


def copy_all(root: str, folder: str) -> list[Path]:
    """Copy all objects of a folder to this machine, and return the files."""
    storage = open_storage(root, create=False)
    manifest = read_manifest(storage, folder, Pieces)
    copies = LocalCopies(storage, folder, manifest)
    copies.copy(list(manifest.files))
    return [copies.path(file) for file in manifest.files]
