"""What a run leaves behind about itself: `runs/<run>/run.json`, and the guard against a name used twice."""

import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from synfundus import __version__
from synfundus.digests import canonical_json
from synfundus.environment import Environment
from synfundus.errors import WrongInputError
from synfundus.storage import Storage, is_complete, read_manifest
from synfundus.training.metadata import CHECKPOINT_FILE

PACKAGES = ("torch", "torchvision", "diffusers", "timm", "ray", "numpy", "pyarrow", "pillow")


def versions() -> dict[str, str]:
    """Versions of this package and of those that decide its numbers."""
    found = {"synfundus": __version__, "python": platform.python_version()}
    return {**found, **{name: metadata.version(name) for name in PACKAGES}}


def git_revision() -> str | None:
    """Revision of this code, with `+` where its checkout was changed; None where neither an image nor git says so."""
    if (built := Environment().revision) is not None:
        return built
    folder = Path(__file__).parent
    try:
        options = {"cwd": folder, "capture_output": True, "text": True, "timeout": 10, "check": True}
        revision = subprocess.run(["git", "rev-parse", "HEAD"], **options).stdout.strip()  # type: ignore[call-overload]
        changed = subprocess.run(["git", "status", "--porcelain"], **options).stdout.strip()  # type: ignore[call-overload]
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{revision}+" if changed else str(revision)


def hardware() -> dict[str, Any]:
    """What the numbers were made on."""
    names = [line for line in _cpuinfo() if line.startswith("model name")]
    cpu = names[0].split(":", 1)[1].strip() if names else platform.processor()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"cpu": cpu, "num_cpus": len(names), "gpus": gpus}


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def start_run(storage: Storage, run: str, output: str, digest: str, study: dict[str, Any]) -> bool:
    """Record a stage's run before it begins.

    A run that left nothing worth keeping (no object of its output, no checkpoint) may begin anew with other settings:
    whoever mends a mistake need not rename the study.

    Args:
        run: folder below `runs/`.
        output: the folder that the stage writes.
        digest: of everything that the output depends on.
        study: settings and digests of inputs, to say what differs.

    Returns:
        Whether there is work left: False when `output` is complete.

    Raises:
        WrongInputError: the name was used before with other settings.
    """
    name = f"runs/{run}/run.json"
    if storage.exists(name):
        before = json.loads(storage.read(name))
        if before["digest"] == digest:
            return not is_complete(storage, output)
        if _has_work(storage, run, output):
            changed = _first_difference(before["study"], study)
            raise WrongInputError(
                f"{output} was begun with another configuration{changed}; give the study another name"
                f" or another root (or delete {output} and runs/{run} below {storage.root})"
            )
        for left in list(storage.names(f"runs/{run}")):
            storage.remove(left)
    elif is_complete(storage, output):
        known = read_manifest(storage, output).get("digest")
        if known is not None and known != digest:
            raise WrongInputError(f"{output} exists with another configuration; give the study another name or root")
    record = {"digest": digest, "study": study, "versions": versions(), "git": git_revision(), "hardware": hardware()}
    storage.replace(name, canonical_json(record))
    return not is_complete(storage, output)


def _has_work(storage: Storage, run: str, output: str) -> bool:
    """Whether a run left an object of its output, or a checkpoint."""
    checkpoints = (name for name in storage.names(f"runs/{run}") if name.endswith(f"/{CHECKPOINT_FILE}"))
    return next(storage.names(output), None) is not None or next(checkpoints, None) is not None


def _first_difference(before: Any, now: Any, path: str = "") -> str:
    """Where two settings trees differ first, in words."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            found = _first_difference(before.get(key), now.get(key), f"{path}.{key}" if path else key)
            if found:
                return found
        return ""
    return "" if before == now else f" ({path} was {before!r}, is {now!r})"
