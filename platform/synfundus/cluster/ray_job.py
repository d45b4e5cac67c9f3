"""A RayJob as the API server returns it: the study that it runs, and its state."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

STUDY_LABEL, SETTINGS_LABEL, ROOT_ANNOTATION = "synfundus.io/study", "synfundus.io/settings", "synfundus.io/root"
"""Keys of a RayJob's metadata, which the chart's template sets: the study's name, the digest of its file and overrides,
and its root."""
WAITING, RUNNING, SUCCEEDED, FAILED = "waiting", "running", "succeeded", "failed"
_STATES = {
    "": WAITING,
    "Running": RUNNING,
    "Retrying": "retrying",
    "Suspending": "suspended",
    "Suspended": "suspended",
    "Complete": SUCCEEDED,
    "Failed": FAILED,
    "ValidationFailed": FAILED,
}
"""KubeRay's jobDeploymentStatus -> state; every other one is `starting`."""


class _Metadata(BaseModel):
    """The part of an object's metadata that is read here."""

    model_config = ConfigDict(frozen=True)
    name: str
    uid: str
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    created: datetime = Field(alias="creationTimestamp")
    deleted: datetime | None = Field(default=None, alias="deletionTimestamp")


class _Status(BaseModel):
    """The part of a RayJob's status that is read here. KubeRay fills it in step by step."""

    model_config = ConfigDict(frozen=True)
    deployment_status: str = Field(default="", alias="jobDeploymentStatus")
    job_status: str = Field(default="", alias="jobStatus")
    message: str = ""
    cluster: str | None = Field(default=None, alias="rayClusterName")


class _AuthOptions(BaseModel):
    """Authentication of Ray's clients."""

    model_config = ConfigDict(frozen=True)
    token_secret: str = Field(default="", alias="secretName")


class _Cluster(BaseModel):
    """The part of a Ray cluster's specification that is read here."""

    model_config = ConfigDict(frozen=True)
    authentication: _AuthOptions = Field(default=_AuthOptions(), alias="authOptions")


class _Spec(BaseModel):
    """The part of a RayJob's specification that is read here."""

    model_config = ConfigDict(frozen=True)
    cluster: _Cluster = Field(default=_Cluster(), alias="rayClusterSpec")


class _Object(BaseModel):
    """A RayJob as JSON of the Kubernetes API."""

    model_config = ConfigDict(frozen=True)
    metadata: _Metadata
    spec: _Spec = _Spec()
    status: _Status | None = None


@dataclass(frozen=True)
class RayJob:
    """A RayJob of a study."""

    name: str
    uid: str
    study: str
    """Name of the study."""
    settings_digest: str
    """Digest of the study's file and overrides."""
    root: str
    """Root of the study."""
    state: str
    """`waiting`, `starting`, `running`, `retrying`, `suspended`, `succeeded` or `failed`."""
    created: datetime
    is_deleted: bool
    """True while Kubernetes deletes the job and its pods."""
    message: str
    """KubeRay's message, often a reason of failure."""
    cluster: str | None
    """Name of the job's Ray cluster."""
    token_secret: str
    """Name of the Secret with the access token of that cluster."""

    @classmethod
    def from_object(cls, body: object) -> Self:
        """Parse a RayJob from JSON of the Kubernetes API."""
        parsed = _Object.model_validate(body)
        metadata, status = parsed.metadata, parsed.status or _Status()
        state = _STATES.get(status.deployment_status, "starting")
        if state == SUCCEEDED and status.job_status != "SUCCEEDED":
            state = FAILED
        return cls(
            name=metadata.name,
            uid=metadata.uid,
            study=metadata.labels[STUDY_LABEL],
            settings_digest=metadata.labels.get(SETTINGS_LABEL, ""),
            root=metadata.annotations.get(ROOT_ANNOTATION, ""),
            state=state,
            created=metadata.created,
            is_deleted=metadata.deleted is not None,
            message=status.message,
            cluster=status.cluster,
            token_secret=parsed.spec.cluster.authentication.token_secret,
        )

    @property
    def is_over(self) -> bool:
        """True if the job succeeded or failed."""
        return self.state in (SUCCEEDED, FAILED)

    @property
    def age(self) -> str:
        """Time since the job was submitted, in hours and minutes."""
        return time_since(self.created)


def time_since(moment: datetime) -> str:
    """Return the time from `moment` until now, in hours and minutes."""
    minutes = int((datetime.now(UTC) - moment).total_seconds() // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
