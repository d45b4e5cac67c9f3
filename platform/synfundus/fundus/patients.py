"""Keyed hashes of patient ids: without the key, a guessed id cannot be tested.

The key is `SYNFUNDUS_PATIENT_KEY`, or lies in the file `SYNFUNDUS_PATIENT_KEY_FILE`, or is generated once in the user's
configuration folder, readable by its owner only. It never lies below a study's root, where everybody who may read the
data would find it.
"""

import hashlib
import os
import secrets
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from synfundus.environment import Environment
from synfundus.errors import WrongInputError

KEY_FILE = "patient.key"
MIN_KEY_CHARACTERS = 16


def patient_key(environment: Environment, root: str) -> bytes:
    """Return the 32-byte key of this person or institution; it is generated on first use.

    Args:
        root: root URI of the study.

    Raises:
        WrongInputError: both variables are set, the key is too short, its file is readable by others or lies below the
            root, or there is none on a cluster, where a pod's files are lost.
    """
    if environment.patient_key is not None and environment.patient_key_file is not None:
        raise WrongInputError(
            "SYNFUNDUS_PATIENT_KEY and SYNFUNDUS_PATIENT_KEY_FILE are both set; unset one, since they may differ"
        )
    if environment.patient_key is not None:
        return _derive(environment.patient_key, "SYNFUNDUS_PATIENT_KEY")
    if environment.patient_key_file is not None:
        return _derive(_read(environment.patient_key_file), str(environment.patient_key_file))
    return _key_of_this_person(environment, root)


def _key_of_this_person(environment: Environment, root: str) -> bytes:
    """Return the key in the user's configuration folder; make it on first use."""
    path = environment.config_folder / KEY_FILE
    root_folder = unquote(urlsplit(root).path) if urlsplit(root).scheme in ("", "file") else None
    if root_folder is not None and path.resolve().is_relative_to(Path(root_folder).resolve()):
        raise WrongInputError(
            f"{path} would lie below the root {root_folder}, beside the data that it protects;"
            " choose another root, or set XDG_CONFIG_HOME or SYNFUNDUS_PATIENT_KEY"
        )
    try:
        if not path.exists():
            if environment.ray_address is not None:
                raise WrongInputError(
                    "patient key: there is none, and a key generated in a pod would be lost with it; name a"
                    " Secret with an entry SYNFUNDUS_PATIENT_KEY in the chart's value `patientKeySecret`"
                )
            _generate(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise WrongInputError(f"{path} is readable by others (mode {mode:03o}); run: chmod 600 {path}")
        return _derive(path.read_text(encoding="utf-8").strip(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise WrongInputError(
            f"patient key: cannot use {path} ({reason}); make it writable or set SYNFUNDUS_PATIENT_KEY"
        ) from error


def _read(path: Path) -> str:
    """Return the content of the file that SYNFUNDUS_PATIENT_KEY_FILE names; a mounted Secret sets its own mode."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise WrongInputError(
            f"SYNFUNDUS_PATIENT_KEY_FILE: {path} cannot be read ({reason}); name the file that holds the patient key"
        ) from error


def _derive(secret: str, origin: str) -> bytes:
    if len(secret) < MIN_KEY_CHARACTERS:
        raise WrongInputError(
            f"{origin}: the patient key has {len(secret)} characters; use a random one of {MIN_KEY_CHARACTERS} or more"
        )
    return hashlib.blake2b(secret.encode(), digest_size=32, person=b"synfundus-key").digest()


def _generate(path: Path) -> None:
    """Write a new key, complete or not at all. If two processes do so at once, the first one wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{KEY_FILE}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32) + "\n")
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink(missing_ok=True)


def hash_patient(key: bytes, patient: str) -> str:
    """Return the hash that replaces a patient id in the data: 32 hex digits."""
    return hashlib.blake2b(patient.encode(), digest_size=16, key=key, person=b"patient").hexdigest()


def key_digest(key: bytes) -> str:
    """Return a digest of the key, 16 hex digits. Datasets with equal digests have comparable patient hashes."""
    return hashlib.blake2b(b"", digest_size=8, key=key, person=b"fingerprint").hexdigest()
