"""Everything that comes from the environment, read here and nowhere else."""

import os
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
class S3Environment:
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


def _s3() -> S3Environment:
    endpoint = _read("S3_ENDPOINT") or _first_of("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    region = _read("S3_REGION") or _first_of("AWS_REGION", "AWS_DEFAULT_REGION")
    addressing = _read("S3_ADDRESSING") or ("path" if endpoint else "virtual")
    if addressing not in ADDRESSINGS:
        raise WrongInputError(f"{PREFIX}S3_ADDRESSING: {addressing!r} is not known; say {' or '.join(ADDRESSINGS)}")
    return S3Environment(endpoint, region, addressing)


@dataclass(frozen=True)
class Environment:
    """Environment of a machine or a person, never of a study; each is an environment variable `SYNFUNDUS_<NAME>`."""

    patient_key: str | None = field(default_factory=lambda: _read("PATIENT_KEY"))
    """Secret of the keyed hash of patient ids. None: one is generated in `config_folder`, its owner's only."""

    real_data: str | None = field(default_factory=lambda: _read("REAL_DATA"))
    """Folder of the real photographs (`images/`, `labels.csv`) that the real study and its test use."""

    config_folder: Path = field(default_factory=_config_home)
    """Where the generated patient key lives."""

    s3: S3Environment = field(default_factory=_s3)
    """How a root on S3 is reached."""

    revision: str | None = field(default_factory=lambda: _read("REVISION"))
    """Git revision of this code where there is no checkout; the image sets it."""

    sampling_pool: str | None = field(default_factory=lambda: _read("SAMPLING_POOL"))
    """Nodes of a Ray cluster that draw samples: those whose label `synfundus.io/pool` has this value. None: any."""

    kubeconfig: str = field(default_factory=lambda: os.environ.get("KUBECONFIG") or "~/.kube/config")  # noqa: TID251
    """Kubernetes' own variable: files that say how clusters are reached, joined by colons."""

    ray_address: str | None = field(default_factory=lambda: os.environ.get("RAY_ADDRESS") or None)  # noqa: TID251
    """Ray's own variable: the cluster that this process belongs to. None: Ray is started on this machine."""
