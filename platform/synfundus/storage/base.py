"""The interface of a root: write-once objects by name.

A name is a relative POSIX path below the root. Everything but `runs/` is write-once: writing the same bytes again
succeeds, because another writer may have been first; writing other bytes raises `AlreadyExistsError`.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol

from synfundus.errors import AlreadyExistsError, FullDiskError, StorageError, WrongInputError

if TYPE_CHECKING:  # Arrow takes a tenth of a second to import
    import pyarrow as pa
    import pyarrow.fs

MUTABLE = "runs"
"""Folder below the root whose objects may be replaced and removed."""
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk."""


@dataclass(frozen=True)
class Written:
    """Name, size and SHA-256 of an object that was written, for the manifest of its folder."""

    name: str
    size_bytes: int
    sha256: str


class Storage(Protocol):
    """Objects below one root URI. Instances are sent to workers, so they hold no client and no credentials."""

    @property
    def root(self) -> str:
        """URI of the root."""
        ...

    def write_once(self, name: str, data: bytes) -> Written:
        """Write an object that is never overwritten.

        Raises:
            AlreadyExistsError: it exists with other content.
            StorageError: it cannot be written.
        """
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Write or overwrite an object below `runs/`."""
        ...

    def remove(self, name: str) -> None:
        """Remove an object below `runs/`, if it exists."""
        ...

    def read(self, name: str) -> bytes:
        """Return all bytes of an object."""
        ...

    def exists(self, name: str) -> bool:
        """Return whether there is an object of this name; a folder is none."""
        ...

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names of all objects below the folder `prefix`, sorted."""
        ...

    def uri(self, name: str) -> str:
        """Return the full address of a name, as pyarrow, Ray Train and users write it."""
        ...

    def open_input(self, name: str) -> "pa.NativeFile":
        """Open an object as a seekable file of Arrow, for `synfundus.storage.parquet`. Use it in a `with` statement."""
        ...

    def arrow_location(self, name: str) -> "tuple[pyarrow.fs.FileSystem, str]":
        """Return Arrow's file system and path of a name, for Ray Train."""
        ...


@contextmanager
def refusing_other_content(folder: str) -> Iterator[None]:
    """Say what to do if a run cannot complete the files that an interrupted run left in `folder`.

    The runs have the same settings and inputs, but models on other hardware round differently.

    Raises:
        WrongInputError: an object exists with other content.
    """
    try:
        yield
    except AlreadyExistsError as error:
        raise WrongInputError(
            f"{folder} holds files of an interrupted run that this run makes differently, for example because this"
            f" machine rounds differently ({error}); delete {folder} and run the same command again"
        ) from error


def below_root(name: str) -> PurePosixPath:
    """Return `name` as a path.

    Raises:
        ValueError: it leads out of the root, or no file can have it.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"not a name below the root: {name!r}")
    return path


def require_mutable(name: str, *, mutable: bool = True) -> None:
    """Raise ValueError if `name` is not below `runs/`; with `mutable=False`, if it is."""
    if (below_root(name).parts[:1] == (MUTABLE,)) != mutable:
        rule = f"is write-once; only {MUTABLE}/ is mutable" if mutable else "lies in the mutable part; use replace"
        raise ValueError(f"{name} {rule}")


def write_error(error: OSError, name: str) -> StorageError:
    """Return the error that kept `name` from being written, as one line."""
    if error.errno in FULL_DISK:
        return FullDiskError(f"disk full while writing {name}; free some space and run the same command again")
    return StorageError(f"cannot write {name}: {error.strerror or error}")
