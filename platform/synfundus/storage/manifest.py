"""Manifests: the last object written to a folder names each other object with size and SHA-256.

A folder is complete when its `manifest.json` exists; readers trust only what it names.
"""

import json
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final, TypeVar

from pydantic import Field

from synfundus.digests import sha256_hex
from synfundus.errors import StorageError, WrongInputError
from synfundus.metadata import Metadata
from synfundus.storage.base import Storage, Written, below_root

MANIFEST: Final = "manifest.json"
METRICS: Final = "metrics.json"
"""Measures of what a folder holds: an annotator, a generator or a report."""


class FileEntry(Metadata):
    """Size and SHA-256 of one object."""

    size_bytes: int
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(Metadata):
    """Metadata that every manifest holds. Each kind of folder has a subclass with its own."""

    version: int = 1
    """Schema of this record. A kind whose files other versions would misread has a number of its own."""
    kind: str
    """Kind of the folder: `data`, `annotator`, `generator`, `samples`, `cell`, `transfer`, `report` or `release`."""
    digest: str
    """Digest of everything that the folder's content depends on; a stage compares it before it uses the folder."""
    files: dict[str, FileEntry] = Field(default_factory=dict)
    """Each object by its name below the folder."""

    @property
    def shards(self) -> list[str]:
        """Names of the Parquet files, sorted."""
        return sorted(name for name in self.files if name.endswith(".parquet"))

    def sha256(self, file: str) -> str:
        """Return the SHA-256 of a file that every folder of this kind holds.

        Raises:
            StorageError: the manifest does not name it.
        """
        if file not in self.files:
            raise StorageError(f"the manifest of the {self.kind} does not name {file}; restore it or make it again")
        return self.files[file].sha256


ManifestT = TypeVar("ManifestT", bound=Manifest)
RecordT = TypeVar("RecordT", bound=Metadata)


def is_complete(storage: Storage, folder: str) -> bool:
    """Return whether the stage that writes `folder` has finished."""
    return storage.exists(f"{folder}/{MANIFEST}")


def write_manifest(storage: Storage, folder: str, objects: Iterable[Written], manifest: ManifestT) -> ManifestT:
    """Complete `folder`: add the entries of `objects` to `manifest`, write it and return it."""
    files = {
        str(PurePosixPath(item.name).relative_to(folder)): FileEntry(size_bytes=item.size_bytes, sha256=item.sha256)
        for item in sorted(objects, key=lambda item: item.name)
    }
    complete = manifest.model_copy(update={"files": files})
    storage.write_once(f"{folder}/{MANIFEST}", complete.to_json())
    return complete


def read_manifest(storage: Storage, folder: str, model: type[ManifestT]) -> ManifestT:
    """Return the manifest of a complete folder.

    Raises:
        WrongInputError: the stage that writes the folder has not finished, or the folder holds another kind.
        StorageError: the manifest is not readable, has another version, or names a file outside the folder.
    """
    name = f"{folder}/{MANIFEST}"
    if not is_complete(storage, folder):
        raise WrongInputError(f"{folder} is not complete below {storage.root}; run the stage that makes it first")
    data = storage.read(name)
    _require_kind_and_version(data, folder, model)
    manifest = model.from_json(data, name)
    for file in manifest.files:
        try:
            below_root(file)
        except ValueError:
            raise StorageError(
                f"{name} names {file!r}, which is not in its folder; restore it or make the folder again"
            ) from None
    return manifest


def _require_kind_and_version(data: bytes, folder: str, model: type[Manifest]) -> None:
    """Raise WrongInputError if the manifest is of another kind than `model`, StorageError if it has another version."""
    name, expected = f"{folder}/{MANIFEST}", model.model_fields["kind"].default
    version = model.model_fields["version"].default
    try:
        found = json.loads(data)
        kind, found_version = found["kind"], int(found["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return  # parsing gives the reason
    if kind != expected:
        raise WrongInputError(f"{name}: the folder holds {kind!r}, expected {expected!r}; name another folder")
    if found_version != version:
        raise StorageError(
            f"{name} has version {found_version}, and this program reads version {version}; use the version of"
            f" synfundus that wrote it, or delete {folder} and run the stage that makes it again"
        )


def manifest_digest(manifest: Manifest) -> str:
    """Return the SHA-256 of a manifest, which stands for all content that it names."""
    return sha256_hex(manifest.to_json())


def read_trusted(storage: Storage, folder: str, file: str, manifest: Manifest) -> bytes:
    """Return the bytes of an object that the manifest names, after verifying their SHA-256.

    Raises:
        StorageError: the manifest does not name the object, or its bytes differ.
    """
    entry = manifest.files.get(file)
    if entry is None:
        raise StorageError(f"{folder}/{MANIFEST} does not name {file}; restore it or make the folder again")
    data = storage.read(f"{folder}/{file}")
    if sha256_hex(data) != entry.sha256:
        raise StorageError(f"{folder}/{file} differs from its manifest (SHA-256); restore it or make the folder again")
    return data


def read_record(storage: Storage, folder: str, file: str, manifest: Manifest, model: type[RecordT]) -> RecordT:
    """Return the record in an object that the manifest names, after verifying its SHA-256.

    Raises:
        StorageError: the manifest does not name the object, its bytes differ, or it is no such record of this version.
    """
    return model.from_json(read_trusted(storage, folder, file, manifest), f"{folder}/{file}")
