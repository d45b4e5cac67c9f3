"""Encoded images, read out of the files of their shards in any order and by any number of threads."""

import os
import resource
import weakref
from collections.abc import Sequence
from pathlib import Path

from synfundus.errors import StorageError
from synfundus.storage import LocalCopies

OPEN_SHARE = 0.5
"""Share of the files that the system lets the process open, which one reader keeps open: a process reads the images of
one dataset. The other shards are opened for each image."""


def max_open_files() -> int:
    """Return the number of shards that one reader keeps open."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if allowed == resource.RLIM_INFINITY else int(allowed * OPEN_SHARE)


class ShardFiles:
    """The shards of a dataset as files of this machine. They are closed when this object is no longer in use.

    Images are read at their positions. Shards are not mapped into memory, because a fault of the disk would then end
    the process without a message, and because mapped pages would count as its memory.
    """

    def __init__(self, copies: LocalCopies, names: Sequence[str]) -> None:
        """Open nothing yet.

        Args:
            names: names of the shards, by number.
        """
        self._copies, self._names = copies, names
        self._paths: dict[int, Path] = {}
        self._open: dict[int, int] = {}
        self._max_open = max_open_files()
        weakref.finalize(self, _close, self._open)

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Return these bytes of a shard, which is copied to this machine first if necessary.

        Raises:
            StorageError: the file cannot be read, or is too short; see also `LocalCopies.path`.
        """
        try:
            data = self._pread(shard, offset, size)
        except OSError as error:
            raise self.damaged(shard, f"cannot be read ({error.strerror})") from error
        if len(data) < size:
            raise self.damaged(shard, f"ends before byte {offset + size}, where an image ends")
        return data

    def damaged(self, shard: int, what: str) -> StorageError:
        """Return the error of a damaged shard."""
        return StorageError(
            f"{self._copies.folder}/{self._names[shard]}: {what}; restore the file or make the folder again"
        )

    def _pread(self, shard: int, offset: int, size: int) -> bytes:
        kept = self._open.get(shard)
        if kept is not None:
            return os.pread(kept, size, offset)
        file = self._opened(shard)
        is_kept = len(self._open) < self._max_open and self._open.setdefault(shard, file) == file
        try:
            return os.pread(file, size, offset)
        finally:
            if not is_kept:
                os.close(file)

    def _opened(self, shard: int) -> int:
        if shard in self._paths:
            try:
                return os.open(self._paths[shard], os.O_RDONLY)
            except FileNotFoundError:
                pass  # the user may empty the cache at any time
        self._paths[shard] = self._copies.path(self._names[shard])
        return os.open(self._paths[shard], os.O_RDONLY)


def _close(files: dict[int, int]) -> None:
    for file in files.values():
        os.close(file)
    files.clear()
