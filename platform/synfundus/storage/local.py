"""A folder of this machine as a study's root."""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.fs

from synfundus.digests import sha256_hex
from synfundus.errors import AlreadyExistsError, StorageError
from synfundus.storage.base import Written, below_root, not_written, require_mutable


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
            raise not_written(error, name) from error
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
            raise not_written(error, name) from error

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
