"""The folder of a local Ray session: short, because Ray puts sockets into it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synfundus.errors import SynfundusError

MAX_SOCKET_CHARS = 107
"""Longest path of a Unix socket on Linux (`sun_path` of unix(7), without its final null byte)."""
SOCKET_IN_SESSION = "/session_2026-11-27_10-00-00_000000_4194304/sockets/plasma_store.00"
"""Longest path of a socket below Ray's folder."""
PREFIX, RAY = "synfundus-", "r"
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  `mkdtemp` makes a private folder below
"""Folders that are tried after the one for temporary files, which TMPDIR sets."""


@contextmanager
def ray_folder() -> Iterator[Path]:
    """Make a new folder for Ray, and remove it with logs, sockets and spilled objects at the end.

    Ray's default, `/tmp/ray`, belongs to the first user who starts Ray on the machine. The new folder lies in one with
    a random name and mode 0700, because Ray makes its own folder writable for everybody.

    Raises:
        SynfundusError: no folder with a short path can be written.
    """
    for parent in (tempfile.gettempdir(), *SHORT_FOLDERS):
        try:
            if len(os.fsencode(f"{parent}/{PREFIX}12345678/{RAY}{SOCKET_IN_SESSION}")) > MAX_SOCKET_CHARS:
                continue
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        except OSError:
            continue
        break
    else:
        raise SynfundusError(
            f"TMPDIR: {tempfile.gettempdir()} is too long for Ray's sockets, and none of {', '.join(SHORT_FOLDERS)} can"
            " be written; set TMPDIR to a folder of at most 20 characters"
        )
    try:
        yield folder / RAY
    finally:
        shutil.rmtree(folder, ignore_errors=True)
