"""Open the storage of a root URI."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from synfundus.environment import Environment
from synfundus.errors import WrongInputError
from synfundus.storage.base import FULL_DISK, Storage, write_error
from synfundus.storage.local import LocalStorage


def open_storage(root: str, *, create: bool = True) -> Storage:
    """Open the storage of a root URI: a path, `file://…` or `s3://bucket/prefix`.

    Args:
        create: create the root and try to write below it. With False, nothing is written, and the right to read
            suffices.

    Raises:
        WrongInputError: a scheme that is not supported, or a root that cannot be reached, read or written.
        StorageError: the disk is full.
    """
    scheme = urlsplit(root).scheme
    if scheme == "s3":
        from synfundus.storage.s3 import open_s3  # boto3 takes half a second to import

        return open_s3(root, Environment().s3, create=create)
    if scheme not in ("", "file"):
        raise WrongInputError(f"root: {root!r} has scheme {scheme!r}; expected a path, file:// or s3://bucket/prefix")
    folder = Path(unquote(urlsplit(root).path) if scheme else root).expanduser().absolute()
    try:
        if create:
            _require_writable(folder)
        else:
            _require_readable(folder)
    except OSError as error:
        if error.errno in FULL_DISK:
            raise write_error(error, str(folder)) from error
        action = "write to" if create else "read"
        raise WrongInputError(
            f"root: cannot {action} {folder} ({error.strerror}); choose another root in the study file"
        ) from error
    return LocalStorage(folder.as_uri())


def _require_writable(folder: Path) -> None:
    """Create the folder and, for a moment, a file in it; raise OSError if that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".probe.{secrets.token_hex(4)}"
    try:
        probe.touch()
    finally:
        probe.unlink(missing_ok=True)


def _require_readable(folder: Path) -> None:
    """Raise OSError if the folder may not be listed or entered. A missing folder counts as an empty one."""
    with suppress(FileNotFoundError):
        os.scandir(f"{folder}/.").close()  # the dot needs the right to enter the folder, too
