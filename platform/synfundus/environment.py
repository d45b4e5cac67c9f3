"""Environment variables, read here and nowhere else."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, AliasGenerator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from synfundus.errors import WrongInputError

PREFIX = "SYNFUNDUS_"
Addressing = Literal["path", "virtual"]


@dataclass(frozen=True)
class S3Environment:
    """Address of an S3 store. It holds no credentials: each process finds them in AWS's own chain."""

    endpoint: str | None = None
    """URL of the store; None for AWS."""
    region: str | None = None
    """Region of the buckets; None for the region of AWS's profile, else us-east-1."""
    addressing: Addressing = "virtual"
    """Place of the bucket in a URL: in its path, or in the name of the host (`virtual`)."""
    ca_file: str | None = None
    """PEM file with the certificates of the authorities that both clients trust; None for those of AWS's profile, else
    the public ones."""


class Environment(BaseSettings):
    """Environment variables of a machine or a person, which are not part of a study. An empty variable counts as unset.

    A field without an alias is read from `SYNFUNDUS_<FIELD>`; other programs' variables keep their own names.
    """

    model_config = SettingsConfigDict(
        case_sensitive=True,
        env_prefix=PREFIX,  # else a field is also read from a variable with its bare name, such as `revision`
        alias_generator=AliasGenerator(validation_alias=lambda field: f"{PREFIX}{field.upper()}"),
        env_ignore_empty=True,
        frozen=True,
        validate_by_name=True,
        use_attribute_docstrings=True,
    )

    patient_key: str | None = Field(default=None, repr=False)
    """Secret key of the keyed hash of patient ids. None: `prepare` generates one in `config_folder`."""
    patient_key_file: Path | None = None
    """File that holds this key in place of `patient_key`, such as a mounted Secret, so that no process inherits it."""
    real_data: str | None = None
    """Folder of the real photographs (`images/`, `labels.csv`) that the real study and its test use."""
    revision: str | None = None
    """Git revision of this code, set in the container image, where there is no checkout."""
    sampling_pool: str | None = None
    """Nodes of a Ray cluster that sample: those whose label `synfundus.io/pool` has this value. None: any node."""
    s3_endpoint: str | None = Field(
        default=None, validation_alias=AliasChoices(f"{PREFIX}S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    )
    """URL of an S3 store that is not AWS. The first variable that is set counts."""
    s3_region: str | None = Field(
        default=None, validation_alias=AliasChoices(f"{PREFIX}S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
    )
    """Region of the buckets. The first variable that is set counts."""
    s3_addressing: Addressing | None = Field(default=None, validation_alias=f"{PREFIX}S3_ADDRESSING")
    """Place of the bucket in a URL. None: `path` with an endpoint, else `virtual`."""
    s3_ca_file: str | None = Field(default=None, validation_alias=AliasChoices(f"{PREFIX}S3_CA_FILE", "AWS_CA_BUNDLE"))
    """PEM file with the authority of the store's certificate, for a store whose authority is private."""
    config_home: Path = Field(default_factory=lambda: Path.home() / ".config", validation_alias="XDG_CONFIG_HOME")
    """Folder of the user's configuration files."""
    cache_home: Path = Field(default_factory=lambda: Path.home() / ".cache", validation_alias="XDG_CACHE_HOME")
    """Folder of files that may be removed at any time."""
    kubeconfig: str = Field(default="~/.kube/config", validation_alias="KUBECONFIG")
    """Files with the addresses of Kubernetes clusters, joined by colons."""
    ray_address: str | None = Field(default=None, validation_alias="RAY_ADDRESS")
    """Ray cluster that this process belongs to. None: a command starts Ray on this machine."""
    ray_serve_proxy_callback: str | None = Field(
        default=None, validation_alias="RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
    )
    """Function that Ray Serve calls in each proxy before it listens. It installs the endpoints' limits."""
    ray_auth_mode: str = Field(default="token", validation_alias="RAY_AUTH_MODE")
    """Authentication of a Ray cluster that a command starts."""

    def __init__(self, **values: Any) -> None:
        """Read the environment; `values` take precedence.

        Raises:
            WrongInputError: a variable has a value that is not allowed.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            raise WrongInputError(
                f"{wrong['loc'][0]}: {wrong['input']!r} is not allowed ({wrong['msg']}); correct or unset this variable"
            ) from None

    @property
    def has_patient_key(self) -> bool:
        """Return whether a variable gives the patient key, or the file that holds it."""
        return self.patient_key is not None or self.patient_key_file is not None

    @property
    def config_folder(self) -> Path:
        """Folder of the generated patient key."""
        return self.config_home / "synfundus"

    @property
    def cache_folder(self) -> Path:
        """Folder of copies of stored objects on this machine's disk."""
        return self.cache_home / "synfundus"

    @property
    def s3(self) -> S3Environment:
        """Address of the S3 store that roots and sources lie on."""
        addressing = self.s3_addressing or ("path" if self.s3_endpoint else "virtual")
        return S3Environment(self.s3_endpoint, self.s3_region, addressing, self.s3_ca_file)
