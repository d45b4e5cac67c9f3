"""Stored objects as files of this machine, so that all its processes read them at any position from one page cache.

Objects of a root on this machine are files already. Objects of S3 are copied, once per machine, to
`$XDG_CACHE_HOME/synfundus/objects/<SHA-256>`. A copy is named by its content, so datasets and studies share it. It is
written under another name, with a lock, then verified and renamed, so a file with the name of a copy is complete. A
killed process leaves a partial file, which the next process overwrites.

The copies hold photographs, perhaps of a store that few may read. So only their owner may enter the folder.
"""

import fcntl
import os
import random
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from synfundus.environment import Environment
from synfundus.errors import FullDiskError, StorageError
from synfundus.storage.base import FULL_DISK, Storage
from synfundus.storage.local import LocalStorage
from synfundus.storage.manifest import Manifest, read_trusted

UNUSED_DAYS = 14
"""Days after which a copy that was not used is removed, when another dataset is copied."""
COPYING_THREADS = 4
"""Objects that one process copies at once. Each is in memory while it is copied."""
REMEDY = "free some space, or set XDG_CACHE_HOME to a folder on a larger disk, and run the same command again"


class LocalCopies:
    """The objects of one complete folder as files of this machine."""

    def __init__(self, storage: Storage, folder: str, manifest: Manifest) -> None:
        self._storage, self.folder, self._manifest = storage, folder, manifest
        self._cache = Environment().cache_folder / "objects"

    def existing(self, file: str) -> Path | None:
        """Return the file with the content of an object; None if it has to be copied first."""
        if isinstance(self._storage, LocalStorage):
            return self._storage.path(f"{self.folder}/{file}")
        copy = self._cache / self._manifest.sha256(file)
        with self._explained(file):
            return copy if _status(copy) else None

    def path(self, file: str) -> Path:
        """Return the file with the content of an object, which is copied first if necessary.

        Raises:
            FullDiskError: the disk of the cache is full.
            StorageError: the object differs from its manifest, or the cache cannot be written.
        """
        existing = self.existing(file)
        if existing is None or isinstance(self._storage, LocalStorage):
            return existing or self._copied(file)
        return existing if _renewed(existing) else self._copied(file)

    def copy(self, files: Sequence[str]) -> None:
        """Copy the objects that have no file yet, and remove copies that were not used for `UNUSED_DAYS`.

        Several processes may copy at once; each object is read by one of them.

        Raises:
            FullDiskError: the objects do not fit on the disk of the cache; nothing is copied.
            StorageError: see `path`.
        """
        if isinstance(self._storage, LocalStorage):
            return
        with self._explained(self.folder):
            _make_private(self._cache)
            _remove_unused(self._cache)
            self._require_space(files)
        # Each process has another order, so that those of one machine share the work.
        mixed = random.Random(os.getpid()).sample(list(files), len(files))
        with ThreadPoolExecutor(COPYING_THREADS, thread_name_prefix="copying") as pool:
            for _ in pool.map(self.path, mixed):
                pass  # raises the error of the first object that failed

    def _require_space(self, files: Sequence[str]) -> None:
        needed = sum(self._manifest.files[file].size_bytes for file in files if self.existing(file) is None)
        free = shutil.disk_usage(self._cache).free
        if needed > free:
            raise FullDiskError(
                f"{self._cache}: {self.folder} needs {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free;"
                f" {REMEDY}"
            )

    def _copied(self, file: str) -> Path:
        target = self._cache / self._manifest.sha256(file)
        with self._explained(file):
            _make_private(self._cache)
            with _locked(target.with_suffix(".part")) as part:
                if not target.exists():  # else another process was first
                    part.truncate(0)
                    part.write(read_trusted(self._storage, self.folder, file, self._manifest))
                    part.flush()
                    os.fsync(part.fileno())
                    Path(part.name).rename(target)
        return target

    @contextmanager
    def _explained(self, place: str) -> Iterator[None]:
        """Raise the errors of the cache's disk as one line."""
        try:
            yield
        except OSError as error:
            if error.errno in FULL_DISK:
                raise FullDiskError(f"{self._cache}: disk full while copying {place}; {REMEDY}") from error
            raise StorageError(
                f"{self._cache}: cannot copy {place} there ({error.strerror or error});"
                " set XDG_CACHE_HOME to a folder that you may write"
            ) from error


def _make_private(folder: Path) -> None:
    """Make a folder that only its owner may enter; one of another user stays as it is."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) != 0o700:
        folder.chmod(0o700)


def _status(path: Path) -> os.stat_result | None:
    """Return the status of a file; None if there is none."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _renewed(copy: Path) -> bool:
    """Set the time of a copy's last use to now; return False if the copy was removed."""
    try:
        os.utime(copy)
    except FileNotFoundError:
        return False
    except OSError:
        pass  # the copy of another user can be read all the same
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Return whether an open file is the one that has this name now."""
    status = _status(path)
    return status is not None and os.path.samestat(os.fstat(file.fileno()), status)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that no other process or thread has open here; remove it if it was not renamed.

    The lock ends with the process, also if the process is killed.
    """
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Its last owner may have renamed or removed it, and others may have made a new one.
            if not _is_at(file, path):
                continue
            try:
                yield file
            finally:
                if _is_at(file, path):
                    path.unlink(missing_ok=True)
            return


def _remove_unused(cache: Path) -> None:
    oldest_s = time.time() - UNUSED_DAYS * 86_400
    for path in cache.iterdir():
        try:
            if path.stat().st_mtime < oldest_s:
                path.unlink()
        except FileNotFoundError:
            pass  # another process removed or renamed it
