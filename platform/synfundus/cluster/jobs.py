"""Submit, follow and cancel the RayJob of a study."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from synfundus.cluster.kube import GROUP, ROOT_ANNOTATION, SETTINGS_LABEL, STUDY_LABEL, VERSION, Namespace
from synfundus.cluster.template import Template, job_of
from synfundus.errors import SynfundusError, WrongInputError
from synfundus.study import Study

SUCCEEDED, FAILED = "succeeded", "failed"
NEW, AGAIN, THERE = "submitted", "failed before and is submitted again, to go on where it stopped", "is there already"
"""What a submission did."""
POLL_S = 2.0
PATIENCE_S = 300.0
"""For which an API server may be away while a job is followed."""
GONE_S = 120.0
"""In which a deleted job with its pods should be gone."""
_STATES = {
    "": "waiting",
    "Running": "running",
    "Retrying": "retrying",
    "Suspending": "suspended",
    "Suspended": "suspended",
    "Complete": SUCCEEDED,
    "Failed": FAILED,
    "ValidationFailed": FAILED,
}
"""By KubeRay's jobDeploymentStatus; whatever else it says is `starting`."""


@dataclass(frozen=True)
class JobView:
    """What a person wants to know of a job."""

    name: str
    uid: str
    study: str
    settings: str
    """Digest of the study's file and overrides."""
    root: str
    """Of the study."""
    state: str
    """`waiting`, `starting`, `running`, `retrying`, `suspended`, `succeeded` or `failed`."""
    created: datetime
    message: str
    cluster: str | None
    """Name of its Ray cluster."""

    @property
    def is_over(self) -> bool:
        return self.state in (SUCCEEDED, FAILED)


def view(job: dict[str, Any]) -> JobView:
    """The state of a RayJob."""
    status, metadata = job.get("status") or {}, job["metadata"]
    state = _STATES.get(status.get("jobDeploymentStatus", ""), "starting")
    if state == SUCCEEDED and status.get("jobStatus") != "SUCCEEDED":
        state = FAILED
    return JobView(
        metadata["name"],
        metadata["uid"],
        metadata["labels"][STUDY_LABEL],
        metadata["labels"].get(SETTINGS_LABEL, ""),
        metadata.get("annotations", {}).get(ROOT_ANNOTATION, ""),
        state,
        datetime.fromisoformat(metadata["creationTimestamp"]),
        status.get("message", ""),
        status.get("rayClusterName"),
    )


def submit(
    namespace: Namespace, template: Template, study: Study, text: str, overrides: Sequence[str]
) -> tuple[JobView, str]:
    """Create the job of a study, unless it is there and has not failed.

    Returns:
        The job, and which of NEW, AGAIN and THERE it is.

    Raises:
        WrongInputError: another job of the study is not over.
        SynfundusError: a job before, of the same name, does not go.
    """
    job, config_map = job_of(template, study, text, overrides)
    name = job["metadata"]["name"]
    there = namespace.job(name)
    has_failed = there is not None and view(there).state == FAILED
    if there is not None and (has_failed or "deletionTimestamp" in there["metadata"]):
        cancel(namespace, view(there))
        there = None
    if there is None:
        _require_no_other(namespace, study.name, name)
    made = None if there else namespace.create_job(job)
    present = made or there or namespace.job(name)
    if present is None:
        raise SynfundusError(f"job {name} was made and deleted by somebody else just now; submit it again")
    # The job first, to own its file; its pods wait for it. Done for a job that is there, too: the last try may have
    # ended between the two.
    owner = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "RayJob", "name": name, "uid": present["metadata"]["uid"]}
    config_map["metadata"]["ownerReferences"] = [owner]
    namespace.ensure_config_map(config_map)
    return view(present), THERE if made is None else AGAIN if has_failed else NEW


def _require_no_other(namespace: Namespace, study: str, name: str) -> None:
    """Two jobs of one name would write into one folder of runs."""
    for other in map(view, namespace.jobs()):
        if other.study == study and other.name != name and not other.is_over:
            raise WrongInputError(
                f"job {other.name} of study {study} (root {other.root}) is {other.state}, with other settings;"
                " wait for it, or `synfundus cluster cancel` it first"
            )


def find(namespace: Namespace, study: str, settings: str) -> JobView:
    """The youngest job of a study with these very settings: another may be somebody else's.

    Raises:
        WrongInputError: there is none.
    """
    of_study = [job for job in map(view, namespace.jobs()) if job.study == study]
    found = [job for job in of_study if job.settings == settings]
    if found:
        return found[-1]
    if of_study:
        other = of_study[-1]
        raise WrongInputError(
            f"no job of study {study} has these settings; {other.name} (root {other.root}, {other.state}) has others:"
            " give the file and each --set as it was submitted"
        )
    raise WrongInputError(f"namespace {namespace.name} has no job of study {study}; `synfundus cluster submit` it")


def follow(namespace: Namespace, name: str, timeout_s: float) -> Iterator[JobView]:
    """The job each time its state changes, until it is over. A cluster that is away for minutes is waited for.

    Raises:
        SynfundusError: it is gone, `timeout_s` are over, or the cluster does not come back.
    """
    answered_s = time.monotonic()
    deadline_s = answered_s + timeout_s
    state = None
    while True:
        try:
            job = namespace.job(name)
            answered_s = time.monotonic()
        except WrongInputError:
            raise
        except SynfundusError:
            if time.monotonic() > min(deadline_s, answered_s + PATIENCE_S):
                raise
            time.sleep(POLL_S)
            continue
        if job is None:
            raise SynfundusError(f"job {name} is gone; somebody cancelled it")
        now = view(job)
        if now.state != state:
            yield now
        if now.is_over:
            return
        state = now.state
        if time.monotonic() > deadline_s:
            raise SynfundusError(f"job {name} is {now.state} after {timeout_s:.0f} s; it goes on")
        time.sleep(POLL_S)


def cancel(namespace: Namespace, job: JobView) -> None:
    """Delete a job with its Ray cluster; what it wrote stays, and the next submission goes on from it.

    Raises:
        SynfundusError: it is not gone after two minutes.
    """
    namespace.delete_job(job.name, job.uid)
    deadline_s = time.monotonic() + GONE_S
    while _is_there(namespace, job):
        if time.monotonic() > deadline_s:
            raise SynfundusError(f"job {job.name} is being deleted, and not gone with its pods after {GONE_S:.0f} s")
        time.sleep(POLL_S / 2)


def _is_there(namespace: Namespace, job: JobView) -> bool:
    """The job or a pod of it; what somebody has submitted again by its name is another."""
    now = namespace.job(job.name)
    if now is not None:
        return view(now).uid == job.uid
    return bool(namespace.pods(f"ray.io/originated-from-cr-name={job.name}"))


def age(job: JobView) -> str:
    """Time since it was submitted, for people."""
    return minutes_since(job.created)


def minutes_since(since: datetime) -> str:
    """Until now, for people."""
    minutes = int((datetime.now(UTC) - since).total_seconds() // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
