"""API keys of the endpoints: a file of names and hashes; the key itself is shown once, when it is made.

A key is 256 random bits, so that its SHA-256 cannot be turned back by trying; a slow password hash would only slow
down each request.
"""

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from synfundus.errors import WrongInputError

PREFIX = "synfundus-"
_LINE = re.compile(r"([\w.@-]{1,64}):([0-9a-f]{64})")


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def new_key(file: Path, name: str) -> str:
    """A new key, whose name and hash are appended to `file` (made for its owner alone, if it is not there).

    Raises:
        WrongInputError: the name cannot stand in such a file or stands there already; the file cannot be written.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    line = f"{name}:{_hash(key)}"
    if not _LINE.fullmatch(line):
        raise WrongInputError(f"{name!r} cannot name a key; use up to 64 letters, digits and . _ @ -")
    if file.exists() and name in read_keys(file):
        raise WrongInputError(f"{file} has a key named {name!r}; choose another name, or delete its line")
    try:
        with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+", encoding="utf-8") as out:
            # printf and Secrets leave the last line without its newline.
            out.write(f"{line}\n" if out.read()[-1:] in ("", "\n") else f"\n{line}\n")
    except OSError as error:
        raise WrongInputError(f"cannot write {file} ({error.strerror})") from error
    return key


def read_keys(file: Path) -> dict[str, str]:
    """Name -> SHA-256 of the keys in a file; empty lines and those that begin with # are passed over.

    Raises:
        WrongInputError: it cannot be read, a line is no name:hash, or a name stands twice.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise WrongInputError(f"cannot read keys {file} ({reason}); `synfundus key FILE NAME` makes one") from error
    keys: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise WrongInputError(f"{file}, line {number}: expected NAME:SHA-256; `synfundus key FILE NAME` adds one")
        if found[1] in keys:
            raise WrongInputError(f"{file}, line {number}: a second key named {found[1]!r}; rename or delete one")
        keys[found[1]] = found[2]
    return keys


def owner_of(key: str, keys: dict[str, str]) -> str | None:
    """Name of the key; None: it is none of `keys`. All are compared, in a time that tells nothing of them."""
    given = _hash(key)
    return next(iter([name for name, known in keys.items() if hmac.compare_digest(given, known)]), None)
