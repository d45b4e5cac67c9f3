"""Encoded images, read out of the files of their shards in any order and by any number of threads."""

import os
import weakref
from collections.abc import Sequence
from pathlib import Path

from synfundus.errors import StorageError
from synfundus.storage import LocalCopies

MAX_OPEN_FILES = 256
"""Shards that one reader keeps open. It opens the others for each image, and so stays below the system's limit."""


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
        file = os.open(self._path(shard), os.O_RDONLY)
        is_kept = len(self._open) < MAX_OPEN_FILES and self._open.setdefault(shard, file) == file
        try:
            return os.pread(file, size, offset)
        finally:
            if not is_kept:
                os.close(file)

    def _path(self, shard: int) -> Path:
        path = self._paths.get(shard)
        if path is None or not path.exists():  # the user may empty the cache at any time
            path = self._paths[shard] = self._copies.path(self._names[shard])
        return path


def _close(files: dict[int, int]) -> None:
    for file in files.values():
        os.close(file)
    files.clear()
