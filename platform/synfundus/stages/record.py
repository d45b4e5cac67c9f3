"""Record of a run, `runs/<run>/run.json`, and the check that no two studies share a name.

The record holds everything that a stage's output depends on, and versions, git revision and hardware of the run.
"""

import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, JsonValue

from synfundus import __version__
from synfundus.digests import digest_of
from synfundus.environment import Environment
from synfundus.errors import StorageError, WrongInputError
from synfundus.metadata import Metadata
from synfundus.storage import MANIFEST, Manifest, Storage
from synfundus.training.metadata import CHECKPOINT_FILE

PACKAGES = ("torch", "torchvision", "diffusers", "timm", "ray", "numpy", "pyarrow", "pillow")
RUN_FILE = "run.json"
REMEDY = "give the study another name or another root"
MAX_VALUE_CHARS = 80
"""Longest value of a setting in a message."""
Basis = dict[str, JsonValue]
"""Everything that the output of a stage depends on: settings, and digests from the manifests of its inputs."""
KeyNames = Mapping[str, str]
"""Place in the study of each top-level key of a basis that has another name there."""


class Hardware(Metadata):
    """CPU and GPUs of a machine."""

    cpu: str
    """Model name of the CPU."""
    num_cpus: int
    """Logical CPUs."""
    gpus: tuple[str, ...]
    """Model name of each GPU."""


class RunRecord(Metadata):
    """`run.json` of a run."""

    version: Literal[1] = 1
    """Schema of this record."""
    digest: str
    """Digest of `basis`."""
    basis: Basis
    """Everything that the output depends on."""
    versions: dict[str, str]
    """Versions of this package, of Python and of the packages that decide the numbers."""
    git: str | None
    """Git revision of this package, with `+` if the checkout was changed; null if it is unknown."""
    hardware: Hardware
    """CPU and GPUs of the machine that began the run."""


class AnyManifest(Manifest):
    """The part that manifests of all kinds share."""

    model_config = ConfigDict(extra="ignore")


def require_same_digest(storage: Storage, run: str, output: str, basis: Basis, names: KeyNames | None = None) -> None:
    """Refuse a complete output that other settings or inputs made.

    Args:
        run: folder below `runs/`, whose record shows which setting differs.
        output: folder of the complete output.
        names: names of keys for the message.

    Raises:
        WrongInputError: the digest in the manifest is not that of `basis`.
    """
    name = f"{output}/{MANIFEST}"
    if AnyManifest.from_json(storage.read(name), name).digest != digest_of(basis):
        difference = _difference(storage, run, basis, names)
        raise WrongInputError(
            f"{output} below {storage.root} was made with other settings or inputs{difference}; {REMEDY}"
        )


def start_record(storage: Storage, run: str, output: str, basis: Basis, names: KeyNames | None = None) -> None:
    """Write the record of a run before it begins, or find the record of the same run, which then resumes.

    A run that left neither an object of its output nor a checkpoint may begin again with other settings, so that
    a study need not be renamed after correcting a mistake.

    Args:
        run: folder below `runs/`.
        output: folder that the stage writes; it is not complete.
        names: names of keys for the message.

    Raises:
        WrongInputError: a run with other settings or inputs began this output.
    """
    digest, name = digest_of(basis), f"runs/{run}/{RUN_FILE}"
    if storage.exists(name):
        if RunRecord.from_json(storage.read(name), name).digest == digest:
            return
        if _has_work(storage, run, output):
            difference = _difference(storage, run, basis, names)
            raise WrongInputError(
                f"{output} below {storage.root} was begun with other settings or inputs{difference};"
                f" {REMEDY}, or delete {output} and runs/{run}"
            )
        for left_over in list(storage.names(f"runs/{run}")):
            storage.remove(left_over)
    record = RunRecord(digest=digest, basis=basis, versions=versions(), git=git_revision(), hardware=hardware())
    storage.replace(name, record.to_json())


def _has_work(storage: Storage, run: str, output: str) -> bool:
    """Return whether a run left an object of its output, or a checkpoint."""
    checkpoints = (name for name in storage.names(f"runs/{run}") if name.endswith(f"/{CHECKPOINT_FILE}"))
    return next(storage.names(output), None) is not None or next(checkpoints, None) is not None


def _difference(storage: Storage, run: str, basis: Basis, names: KeyNames | None) -> str:
    """Return in parentheses what differs from the record of a run first; nothing without a readable record."""
    name = f"runs/{run}/{RUN_FILE}"
    if not storage.exists(name):
        return ""
    try:
        before = RunRecord.from_json(storage.read(name), name).basis
    except StorageError:
        return ""
    for key, old, new in _items(before, basis):
        # Two keys may have one name: the settings of a section, and the digests of the files that it names.
        found = _first_difference(old, new, (names or {}).get(key, key))
        if found:
            return found
    return ""


def _first_difference(before: JsonValue, now: JsonValue, path: str) -> str:
    """Return the first key at which two trees of settings differ, with both values; nothing if they are equal."""
    for key, old, new in _items(before, now):
        found = _first_difference(old, new, f"{path}.{key}")
        if found:
            return found
    return "" if before == now else f" ({path} was {_shown(before)}, is {_shown(now)})"


def _items(before: JsonValue, now: JsonValue) -> list[tuple[str, JsonValue, JsonValue]]:
    """Return key, old and new value of each item of two mappings, or of two lists of mappings; else nothing."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [(key, before.get(key), now.get(key)) for key in sorted(before.keys() | now.keys())]
    if isinstance(before, list) and isinstance(now, list) and all(isinstance(item, dict) for item in before + now):
        return [(str(index), old, new) for index, (old, new) in enumerate(zip_longest(before, now))]
    return []


def _shown(value: JsonValue) -> str:
    """Return a value for a message, cut if it is long."""
    text = repr(value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}…"


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python and of the packages that decide the numbers."""
    found = {"synfundus": __version__, "python": platform.python_version()}
    return {**found, **{name: metadata.version(name) for name in PACKAGES}}


def git_revision() -> str | None:
    """Return the git revision of this package, with `+` if its checkout was changed; None if it is unknown."""
    if (built := Environment().revision) is not None:
        return built
    revision, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    if revision is None or changes is None:
        return None
    return f"{revision}+" if changes else revision


def _git(*arguments: str) -> str | None:
    """Return the output of a git command in the folder of this package; None if there is no git or no checkout."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def hardware() -> Hardware:
    """Return CPU and GPUs of this machine."""
    import torch  # takes seconds to import, and commands on finished stages do not need it

    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    gpus = tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return Hardware(cpu=names[0] if names else platform.processor(), num_cpus=len(names), gpus=gpus)
