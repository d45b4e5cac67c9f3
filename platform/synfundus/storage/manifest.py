"""Manifests: what a reader may trust in a complete folder. A manifest is written last and names each object."""

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from synfundus.digests import canonical_json, sha256_hex
from synfundus.errors import StorageError, WrongInputError
from synfundus.storage.base import Storage, Written, below_root

MANIFEST = "manifest.json"


def is_complete(storage: Storage, folder: str) -> bool:
    """Whether the stage that writes `folder` has finished."""
    return storage.exists(f"{folder}/{MANIFEST}")


def write_manifest(storage: Storage, folder: str, objects: list[Written], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Close `folder`: write its manifest last. `facts` are further keys, equal for equal input."""
    files = {
        str(PurePosixPath(item.name).relative_to(folder)): {"size_bytes": item.size_bytes, "sha256": item.sha256}
        for item in sorted(objects, key=lambda item: item.name)
    }
    manifest = {**facts, "files": files}
    storage.write_once(f"{folder}/{MANIFEST}", canonical_json(manifest))
    return manifest


def read_manifest(storage: Storage, folder: str) -> dict[str, Any]:
    """The manifest of a complete folder.

    Raises:
        WrongInputError: the stage that writes it has not finished.
        StorageError: it names a file that is not in `folder`; who copies by its names would write anywhere.
    """
    if not is_complete(storage, folder):
        raise WrongInputError(f"{folder} is not complete below {storage.root}; run the stage that makes it first")
    manifest: dict[str, Any] = json.loads(storage.read(f"{folder}/{MANIFEST}"))
    for file in manifest["files"]:
        try:
            below_root(file)
        except ValueError:
            raise StorageError(
                f"{folder}/{MANIFEST} names {file!r}, which is not in its folder; restore it or remake the stage"
            ) from None
    return manifest


def read_trusted(storage: Storage, folder: str, file: str, manifest: Mapping[str, Any]) -> bytes:
    """An object that the manifest names, its hash verified.

    Raises:
        StorageError: the manifest does not name it, or the bytes differ from what it says.
    """
    entry = manifest["files"].get(file)
    if entry is None:
        raise StorageError(f"{folder}/{MANIFEST} does not name {file}")
    data = storage.read(f"{folder}/{file}")
    if sha256_hex(data) != entry["sha256"]:
        raise StorageError(f"{folder}/{file} differs from its manifest (SHA-256); restore it or remake the stage")
    return data
