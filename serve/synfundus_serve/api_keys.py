"""API keys of the endpoints: a file of names and SHA-256. The key itself is shown once, when it is made.

A key is 256 random bits, so its SHA-256 cannot be inverted by guessing. A slow password hash would only slow down each
request.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from synfundus.errors import WrongInputError

PREFIX = "synfundus-"
_LINE = re.compile(r"([\w.@-]{1,64}):([0-9a-f]{64})")


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def new_key(file: Path, name: str) -> str:
    """Return a new key, and append its name and SHA-256 to `file`. A new file is readable by its owner only.

    Raises:
        WrongInputError: the name is not valid or is in the file already, or the file cannot be written.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    line = f"{name}:{_hash(key)}"
    if not _LINE.fullmatch(line):
        raise WrongInputError(f"{name!r} cannot name a key; use up to 64 letters, digits and . _ @ -")
    if file.exists() and name in read_keys(file):
        raise WrongInputError(f"{file} has a key named {name!r}; choose another name, or delete its line")
    try:
        with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+", encoding="utf-8") as out:
            # printf and Kubernetes Secrets may leave the last line without a newline.
            out.write(f"{line}\n" if out.read()[-1:] in ("", "\n") else f"\n{line}\n")
    except OSError as error:
        raise WrongInputError(f"{file}: cannot be written ({error.strerror}); choose another file") from error
    return key


def read_keys(file: Path) -> dict[str, str]:
    """Return the SHA-256 of each key in a file, by name. Empty lines and lines that begin with # are skipped.

    Raises:
        WrongInputError: the file cannot be read, a line is not NAME:SHA-256, or two lines have the same name.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise WrongInputError(f"keys {file}: cannot be read ({reason}); `synfundus key FILE NAME` makes one") from error
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


def owner_of(key: str, keys: Mapping[str, str]) -> str | None:
    """Return the name of a key, or None if it is not one of `keys`.

    Compares the key with all of them, so that the duration reveals nothing.
    """
    given = _hash(key)
    matches = [name for name, known in keys.items() if hmac.compare_digest(given, known)]
    return matches[0] if matches else None
