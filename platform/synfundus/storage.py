"""One root URI for everything a study makes: write-once objects, manifests, listing.

A name is a relative POSIX path below the root. Everything but `runs/` is write-once: a second write of the same bytes
is a success (somebody was first), of other bytes an `AlreadyExistsError`. A folder is complete when its `manifest.json`
exists, which is written last and names each object with size and SHA-256.
"""

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.fs

from synfundus.errors import AlreadyExistsError, FullDiskError, StorageError, WrongInputError
from synfundus.settings import Settings

MANIFEST = "manifest.json"
MUTABLE = "runs"


@dataclass(frozen=True)
class Written:
    """What a reader may trust about one object."""

    name: str
    size_bytes: int
    sha256: str


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    """One byte string for one value: sorted keys, no NaN, a newline at the end."""
    return (json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def below_root(name: str) -> PurePosixPath:
    """`name`, which must not lead out of the root."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"not a name below the root: {name!r}")
    return path


def require_mutable(name: str, *, mutable: bool = True) -> None:
    """Raises ValueError, for a defect of ours, where `name` is not below `runs/`; with `mutable` False, where it is."""
    if (below_root(name).parts[:1] == (MUTABLE,)) != mutable:
        rule = f"is write-once; only {MUTABLE}/ is mutable" if mutable else "lies in the mutable part; use replace"
        raise ValueError(f"{name} {rule}")


class Storage(Protocol):
    """A place that holds objects below one root URI."""

    @property
    def root(self) -> str: ...

    def write_once(self, name: str, data: bytes) -> Written: ...

    def replace(self, name: str, data: bytes) -> None:
        """Write or overwrite an object of the mutable part (`runs/`)."""
        ...

    def remove(self, name: str) -> None:
        """Remove an object of the mutable part (`runs/`); one that is not there is no error."""
        ...

    def read(self, name: str) -> bytes: ...

    def exists(self, name: str) -> bool: ...

    def names(self, prefix: str) -> Iterator[str]:
        """Names of all objects below the folder `prefix`, sorted."""
        ...

    def uri(self, name: str) -> str:
        """Full address of a name, as pyarrow, Ray Train and a person read it."""
        ...

    def open_input(self, name: str) -> pa.NativeFile:
        """A seekable reader of one object, opened by Arrow (why: `synfundus.parquet`); a context manager."""
        ...

    def arrow_location(self, name: str) -> tuple[pyarrow.fs.FileSystem, str]:
        """File system and path of a name, for Ray Train."""
        ...


FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def _not_written(error: OSError, name: str) -> StorageError:
    """What kept `name` from being written, in one line; a full disk has an error of its own."""
    if error.errno in FULL_DISK:
        return FullDiskError(f"disk full while writing {name}; free some space and run the same command again")
    return StorageError(f"cannot write {name}: {error.strerror or error}")


@dataclass(frozen=True)
class LocalStorage:
    """Objects as files. Write-once by a temporary file and `os.link`, which refuses where `os.replace` overwrites."""

    root: str
    """A `file://` URI, absolute."""

    @property
    def folder(self) -> Path:
        return Path(unquote(urlsplit(self.root).path))

    def path(self, name: str) -> Path:
        return self.folder / below_root(name)

    def uri(self, name: str) -> str:
        return str(self.path(name))

    def _temporary(self, target: Path, data: bytes) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.part"
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def write_once(self, name: str, data: bytes) -> Written:
        """Write an object that nobody overwrites.

        Raises:
            AlreadyExistsError: it exists with other content.
            StorageError: full disk, no right to write.
        """
        require_mutable(name, mutable=False)
        target = self.path(name)
        written = Written(name, len(data), sha256_hex(data))
        try:
            if not target.exists():
                temporary = self._temporary(target, data)
                try:
                    os.link(temporary, target)
                    return written
                except FileExistsError:
                    pass  # somebody was first
                finally:
                    temporary.unlink(missing_ok=True)
            if sha256_hex(self.read(name)) != written.sha256:
                raise AlreadyExistsError(f"{name} exists with other content below {self.root}")
        except OSError as error:
            raise _not_written(error, name) from error
        return written

    def replace(self, name: str, data: bytes) -> None:
        """Write or overwrite an object below `runs/`."""
        require_mutable(name)
        target = self.path(name)
        try:
            temporary = self._temporary(target, data)
            try:
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise _not_written(error, name) from error

    def remove(self, name: str) -> None:
        """Remove an object below `runs/`, and the folders that this leaves empty."""
        require_mutable(name)
        target = self.path(name)
        try:
            target.unlink(missing_ok=True)
            for folder in target.parents:
                if folder == self.folder or not folder.is_dir() or any(folder.iterdir()):
                    break
                folder.rmdir()
        except OSError as error:
            raise StorageError(f"cannot remove {name}: {error.strerror or error}") from error

    def read(self, name: str) -> bytes:
        try:
            return self.path(name).read_bytes()
        except OSError as error:
            raise StorageError(f"cannot read {name} below {self.root}: {error.strerror or error}") from error

    def exists(self, name: str) -> bool:
        return self.path(name).is_file()

    def names(self, prefix: str) -> Iterator[str]:
        folder = self.path(prefix)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.endswith(".part"):
                yield path.relative_to(self.folder).as_posix()

    def open_input(self, name: str) -> pa.NativeFile:
        path = self.path(name)
        try:
            return pa.OSFile(str(path))
        except OSError as error:
            # Arrow's message names the path again, or has no number where it is a folder.
            reason = os.strerror(error.errno) if error.errno else error
            raise StorageError(f"cannot read {name} below {self.root}: {reason}") from error

    def arrow_location(self, name: str) -> tuple[pyarrow.fs.FileSystem, str]:
        return pyarrow.fs.LocalFileSystem(), str(self.path(name))


def open_storage(root: str, *, create: bool = True) -> Storage:
    """The storage of a root URI: a path, `file://…` or `s3://bucket/prefix`.

    Args:
        create: make the root and try a file in it; otherwise nothing is written, and the right to read is enough.

    Raises:
        WrongInputError: a scheme that is not supported, or a root that cannot be reached, read or written.
        StorageError: the disk is full.
    """
    scheme = urlsplit(root).scheme
    if scheme == "s3":
        from synfundus.s3 import open_s3  # boto3 takes half a second to import

        return open_s3(root, Settings().s3, create=create)
    if scheme not in ("", "file"):
        raise WrongInputError(f"root: {root!r} has scheme {scheme!r}; expected a path, file:// or s3://bucket/prefix")
    folder = Path(unquote(urlsplit(root).path) if scheme else root).expanduser().absolute()
    try:
        if create:
            _probe(folder)
        else:
            _require_readable(folder)
    except OSError as error:
        if error.errno in FULL_DISK:
            raise _not_written(error, str(folder)) from error
        doing, remedy = "write to" if create else "read", "choose another root in the study file"
        raise WrongInputError(f"root: cannot {doing} {folder} ({error.strerror}); {remedy}") from error
    return LocalStorage(folder.as_uri())


def _probe(folder: Path) -> None:
    """Make the folder and a file in it; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".probe.{secrets.token_hex(4)}"
    try:
        probe.touch()
    finally:
        probe.unlink(missing_ok=True)


def _require_readable(folder: Path) -> None:
    """Raises OSError where the folder may not be listed or entered. One that is not there yet is only empty."""
    with suppress(FileNotFoundError):
        os.scandir(f"{folder}/.").close()  # the dot asks for the right to enter, too


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
