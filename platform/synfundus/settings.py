"""Everything that comes from the environment, read here and nowhere else."""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from synfundus.errors import WrongInputError

PREFIX = "SYNFUNDUS_"
ADDRESSINGS = ("path", "virtual")


def _read(name: str) -> str | None:
    return os.environ.get(PREFIX + name) or None  # noqa: TID251  the one place


def _config_home() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME")  # noqa: TID251  the one place
    return (Path(base) if base else Path.home() / ".config") / "synfundus"


@dataclass(frozen=True)
class S3Settings:
    """How an S3 store is reached. Credentials are not here: AWS's own chain finds them where they are needed."""

    endpoint: str | None = None
    """URL of a store that is not AWS; `SYNFUNDUS_S3_ENDPOINT`, else AWS's own variables for it."""
    region: str | None = None
    """`SYNFUNDUS_S3_REGION`, else AWS's own variables; None: that of the profile, else us-east-1."""
    addressing: str = "virtual"
    """`SYNFUNDUS_S3_ADDRESSING`: `path` (the bucket in the path; default with an endpoint) or `virtual` (in the host's
    name; default of AWS)."""


def _first_of(*names: str) -> str | None:
    """The first of AWS's own variables that is set."""
    return next(filter(None, map(os.environ.get, names)), None)  # noqa: TID251  the one place


def _s3() -> S3Settings:
    endpoint = _read("S3_ENDPOINT") or _first_of("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    region = _read("S3_REGION") or _first_of("AWS_REGION", "AWS_DEFAULT_REGION")
    addressing = _read("S3_ADDRESSING") or ("path" if endpoint else "virtual")
    if addressing not in ADDRESSINGS:
        raise WrongInputError(f"{PREFIX}S3_ADDRESSING: {addressing!r} is not known; say {' or '.join(ADDRESSINGS)}")
    return S3Settings(endpoint, region, addressing)


@dataclass(frozen=True)
class Settings:
    """Settings of a machine or a person, never of a study; each is an environment variable `SYNFUNDUS_<NAME>`."""

    patient_key: str | None = field(default_factory=lambda: _read("PATIENT_KEY"))
    """Secret of the keyed hash of patient ids. None: one is generated in `config_folder`, its owner's only."""

    real_data: str | None = field(default_factory=lambda: _read("REAL_DATA"))
    """Folder of the real photographs (`images/`, `labels.csv`) that the real study and its test use."""

    config_folder: Path = field(default_factory=_config_home)
    """Where the generated patient key lives."""

    s3: S3Settings = field(default_factory=_s3)
    """How a root on S3 is reached."""

    revision: str | None = field(default_factory=lambda: _read("REVISION"))
    """Git revision of this code where there is no checkout; the image sets it."""

    sampling_pool: str | None = field(default_factory=lambda: _read("SAMPLING_POOL"))
    """Nodes of a Ray cluster that draw samples: those whose label `synfundus.io/pool` has this value. None: any."""

    kubeconfig: str = field(default_factory=lambda: os.environ.get("KUBECONFIG") or "~/.kube/config")  # noqa: TID251
    """Kubernetes' own variable: files that say how clusters are reached, joined by colons."""

    ray_address: str | None = field(default_factory=lambda: os.environ.get("RAY_ADDRESS") or None)  # noqa: TID251
    """Ray's own variable: the cluster that this process belongs to. None: Ray is started on this machine."""


WORKERS_MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
}
"""glibc's malloc in Ray's workers. They train in a thread that is not the first, whose arena gives every large tensor
back to the system and faults its pages in again: some 10,000 faults a step of the demo's generator, none with these."""

FEWER_HELPERS = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # no other machine is there to be taken away
    "RAY_num_workers_soft_limit": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "10000",  # idle workers go, but not between two passes of a stage
}
"""Ray's processes wake up a hundred times a second each, idle or not, and each time stop a thread that trains."""


def prepare_ray_environment() -> str | None:
    """Set what Ray reads at import, where the user has not.

    A local cluster listens on an address of the machine, where others may reach it: it gets a token of its own.

    Returns:
        Address of the cluster that this process belongs to; None: start one.
    """
    environment = os.environ  # noqa: TID251  Ray is set up through it
    address = environment.get("RAY_ADDRESS")
    if not address:
        environment.setdefault("RAY_AUTH_MODE", "token")
        if environment["RAY_AUTH_MODE"] == "token":
            environment.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        for name, value in (WORKERS_MALLOC | FEWER_HELPERS).items():
            environment.setdefault(name, value)
    environment.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    # Ray's C++ core writes errors of its own bookkeeping to the terminal (ray#53727, for every actor pool of Ray Data).
    environment.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    environment.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "0")
    environment.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    return address
