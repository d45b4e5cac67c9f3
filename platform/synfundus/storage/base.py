"""One root URI for everything a study makes: write-once objects, manifests, listing.

A name is a relative POSIX path below the root. Everything but `runs/` is write-once: a second write of the same bytes
is a success (somebody was first), of other bytes an `AlreadyExistsError`. A folder is complete when its `manifest.json`
exists, which is written last and names each object with size and SHA-256.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

import pyarrow as pa
import pyarrow.fs

from synfundus.errors import FullDiskError, StorageError

MUTABLE = "runs"


@dataclass(frozen=True)
class Written:
    """What a reader may trust about one object."""

    name: str
    size_bytes: int
    sha256: str


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
        """A seekable reader of one object, opened by Arrow (why: `synfundus.storage.parquet`); a context manager."""
        ...

    def arrow_location(self, name: str) -> tuple[pyarrow.fs.FileSystem, str]:
        """File system and path of a name, for Ray Train."""
        ...


FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def not_written(error: OSError, name: str) -> StorageError:
    """What kept `name` from being written, in one line; a full disk has an error of its own."""
    if error.errno in FULL_DISK:
        return FullDiskError(f"disk full while writing {name}; free some space and run the same command again")
    return StorageError(f"cannot write {name}: {error.strerror or error}")
