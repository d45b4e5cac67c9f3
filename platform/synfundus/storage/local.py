"""A folder of this machine as a root."""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from synfundus.digests import sha256_hex
from synfundus.errors import AlreadyExistsError, StorageError
from synfundus.storage.base import Written, below_root, require_mutable, write_error

if TYPE_CHECKING:  # Arrow takes a tenth of a second to import
    import pyarrow as pa
    import pyarrow.fs


@dataclass(frozen=True)
class LocalStorage:
    """Objects as files. `os.link` makes them write-once: it refuses an existing name, where `os.replace` overwrites."""

    root: str
    """Absolute `file://` URI."""

    @property
    def folder(self) -> Path:
        """Path of the root."""
        return Path(unquote(urlsplit(self.root).path))

    def path(self, name: str) -> Path:
        """Return the path of a name."""
        return self.folder / below_root(name)

    def uri(self, name: str) -> str:
        """Return the path of a name as text."""
        return str(self.path(name))

    def _write_temporary(self, target: Path, data: bytes) -> Path:
        """Write `data` beside `target` under another name, and return that path."""
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
        """Write an object that is never overwritten.

        Raises:
            AlreadyExistsError: it exists with other content.
            StorageError: the disk is full, or this user may not write there.
        """
        require_mutable(name, mutable=False)
        target = self.path(name)
        written = Written(name, len(data), sha256_hex(data))
        try:
            if not target.exists():
                temporary = self._write_temporary(target, data)
                try:
                    os.link(temporary, target)
                    return written
                except FileExistsError:
                    pass  # another writer was first
                finally:
                    temporary.unlink(missing_ok=True)
            if sha256_hex(self.read(name)) != written.sha256:
                raise AlreadyExistsError(f"{name} exists with other content below {self.root}")
        except OSError as error:
            raise write_error(error, name) from error
        return written

    def replace(self, name: str, data: bytes) -> None:
        """Write or overwrite an object below `runs/`."""
        require_mutable(name)
        target = self.path(name)
        try:
            temporary = self._write_temporary(target, data)
            try:
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(error, name) from error

    def remove(self, name: str) -> None:
        """Remove an object below `runs/`, if it exists, and the folders that become empty."""
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
        """Return all bytes of an object."""
        try:
            return self.path(name).read_bytes()
        except OSError as error:
            remedy = "; restore it or make its folder again" if isinstance(error, FileNotFoundError) else ""
            raise StorageError(f"cannot read {name} below {self.root}: {error.strerror or error}{remedy}") from error

    def exists(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        return self.path(name).is_file()

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names of all objects below the folder `prefix`, sorted; skip files that are being written."""
        for path in sorted(self.path(prefix).rglob("*")):
            if path.is_file() and not path.name.endswith(".part"):
                yield path.relative_to(self.folder).as_posix()

    def open_input(self, name: str) -> "pa.NativeFile":
        """Open an object as a seekable file of Arrow."""
        import pyarrow as pa

        path = self.path(name)
        try:
            return pa.OSFile(str(path))
        except OSError as error:
            # Arrow's message repeats the path, and has no error number if the path is a folder.
            reason = os.strerror(error.errno) if error.errno else error
            raise StorageError(f"cannot read {name} below {self.root}: {reason}") from error

    def arrow_location(self, name: str) -> "tuple[pyarrow.fs.FileSystem, str]":
        """Return Arrow's file system and path of a name."""
        import pyarrow.fs

        return pyarrow.fs.LocalFileSystem(), str(self.path(name))
