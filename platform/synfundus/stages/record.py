"""Record of a run, `runs/<run>/run.json`, and the guard against one name for two studies.

The record holds everything that a stage's output depends on, and versions, git revision and hardware of the run.
"""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, JsonValue

from synfundus import __version__
from synfundus.digests import digest_of
from synfundus.environment import Environment
from synfundus.errors import WrongInputError
from synfundus.metadata import Metadata
from synfundus.storage import MANIFEST, Manifest, Storage
from synfundus.training.metadata import CHECKPOINT_FILE

PACKAGES = ("torch", "torchvision", "diffusers", "timm", "ray", "numpy", "pyarrow", "pillow")
RUN_FILE = "run.json"
REMEDY = "give the study another name or another root"
Basis = dict[str, JsonValue]
"""Everything that the output of a stage depends on: settings, and digests from the manifests of its inputs."""


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


class _AnyManifest(Manifest):
    """The part that manifests of all kinds share."""

    model_config = ConfigDict(extra="ignore")


def require_same_digest(storage: Storage, run: str, output: str, basis: Basis) -> None:
    """Refuse a complete output that other settings or inputs made.

    Args:
        run: folder below `runs/`, whose record tells which setting differs.
        output: folder of the complete output.

    Raises:
        WrongInputError: the digest in the manifest is not that of `basis`.
    """
    name = f"{output}/{MANIFEST}"
    if _AnyManifest.from_json(storage.read(name), name).digest != digest_of(basis):
        difference = _difference(storage, run, basis)
        raise WrongInputError(
            f"{output} below {storage.root} was made with other settings or inputs{difference}; {REMEDY}"
        )


def start_record(storage: Storage, run: str, output: str, basis: Basis) -> None:
    """Write the record of a run before it begins, or find the record of the same run, which then resumes.

    A run that left neither an object of its output nor a checkpoint may begin again with other settings, so that
    nobody has to rename a study after correcting a mistake.

    Args:
        run: folder below `runs/`.
        output: folder that the stage writes; it is not complete.

    Raises:
        WrongInputError: a run with other settings or inputs began this output.
    """
    digest, name = digest_of(basis), f"runs/{run}/{RUN_FILE}"
    if storage.exists(name):
        if RunRecord.from_json(storage.read(name), name).digest == digest:
            return
        if _has_work(storage, run, output):
            difference = _difference(storage, run, basis)
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


def _difference(storage: Storage, run: str, basis: Basis) -> str:
    """Return in parentheses what differs from the record of a run first; nothing if there is no record."""
    name = f"runs/{run}/{RUN_FILE}"
    if not storage.exists(name):
        return ""
    return _first_difference(RunRecord.from_json(storage.read(name), name).basis, basis)


def _first_difference(before: JsonValue, now: JsonValue, path: str = "") -> str:
    """Return the first key at which two trees of settings differ, with both values; nothing if they are equal."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            found = _first_difference(before.get(key), now.get(key), f"{path}.{key}" if path else key)
            if found:
                return found
        return ""
    return "" if before == now else f" ({path} was {before!r}, is {now!r})"


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
    import torch  # takes seconds to import, and commands on finished stages do without

    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    gpus = tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return Hardware(cpu=names[0] if names else platform.processor(), num_cpus=len(names), gpus=gpus)
