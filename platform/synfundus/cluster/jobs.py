"""Submit, follow and cancel the RayJob of a study."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from synfundus.cluster.kube import GROUP, STUDY_LABEL, VERSION, Namespace, one_line_errors
from synfundus.cluster.template import Template, job_of
from synfundus.errors import SynfundusError, WrongInputError
from synfundus.study import Study

SUCCEEDED, FAILED = "succeeded", "failed"
POLL_S = 2.0
ORDINARY = ("ContainerCreating", "PodInitializing")
"""What every pod waits for."""
_STATES = {
    "": "waiting",
    "Running": "running",
    "Retrying": "retrying",
    "Complete": SUCCEEDED,
    "Failed": FAILED,
    "ValidationFailed": FAILED,
}
"""By KubeRay's jobDeploymentStatus; whatever else it says is `starting`."""


@dataclass(frozen=True)
class JobView:
    """What a person wants to know of a job."""

    name: str
    study: str
    state: str
    """`waiting`, `starting`, `running`, `retrying`, `succeeded` or `failed`."""
    created: datetime
    message: str
    cluster: str | None
    """Name of its Ray cluster."""

    @property
    def is_over(self) -> bool:
        return self.state in (SUCCEEDED, FAILED)


def view(job: dict[str, Any]) -> JobView:
    """The state of a RayJob."""
    status = job.get("status") or {}
    state = _STATES.get(status.get("jobDeploymentStatus", ""), "starting")
    if state == SUCCEEDED and status.get("jobStatus") != "SUCCEEDED":
        state = FAILED
    return JobView(
        job["metadata"]["name"],
        job["metadata"]["labels"][STUDY_LABEL],
        state,
        datetime.fromisoformat(job["metadata"]["creationTimestamp"]),
        status.get("message", ""),
        status.get("rayClusterName"),
    )


def submit(
    namespace: Namespace, template: Template, study: Study, text: str, overrides: Sequence[str]
) -> tuple[JobView, bool]:
    """Create the job of a study, unless it is there.

    Returns:
        The job, and whether it is new.

    Raises:
        WrongInputError: another job of the study, of other settings, is not over.
    """
    job, config_map = job_of(template, study, text, overrides)
    name = job["metadata"]["name"]
    there = namespace.job(name)
    if there is None:
        for other in map(view, namespace.jobs()):
            if other.study == study.name and not other.is_over:
                raise WrongInputError(
                    f"job {other.name} of study {study.name} is {other.state}, with other settings;"
                    " wait for it, or `synfundus cluster cancel` it first"
                )
    made = there or namespace.create_job(job)
    # The job first, to own its file; its pods wait for it. Done for a job that is there, too: the last try may have
    # ended between the two.
    owner = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "RayJob", "name": name, "uid": made["metadata"]["uid"]}
    config_map["metadata"]["ownerReferences"] = [owner]
    namespace.ensure_config_map(config_map)
    return view(made), there is None


def latest(namespace: Namespace, study: str) -> JobView:
    """The youngest job of a study.

    Raises:
        WrongInputError: it has none.
    """
    found = [job for job in map(view, namespace.jobs()) if job.study == study]
    if not found:
        raise WrongInputError(f"namespace {namespace.name} has no job of study {study}; `synfundus cluster submit` it")
    return found[-1]


def follow(namespace: Namespace, name: str, timeout_s: float) -> Iterator[JobView]:
    """The job each time its state changes, until it is over.

    Raises:
        SynfundusError: it is gone, or `timeout_s` are over.
    """
    deadline_s = time.monotonic() + timeout_s
    last = None
    while last is None or not last.is_over:
        job = namespace.job(name)
        if job is None:
            raise SynfundusError(f"job {name} is gone; somebody cancelled it")
        now = view(job)
        if last is None or now.state != last.state:
            yield now
        last = now
        if not now.is_over:
            if time.monotonic() > deadline_s:
                raise SynfundusError(f"job {name} is {now.state} after {timeout_s:.0f} s; it goes on")
            time.sleep(POLL_S)


def cancel(namespace: Namespace, name: str, timeout_s: float = 120.0) -> None:
    """Delete a job with its Ray cluster; what it wrote stays, and the next submission goes on from it."""
    namespace.delete_job(name)
    deadline_s = time.monotonic() + timeout_s
    while namespace.job(name) is not None or namespace.pods(f"ray.io/originated-from-cr-name={name}"):
        if time.monotonic() > deadline_s:
            raise SynfundusError(f"job {name} is deleted, but its pods are not gone after {timeout_s:.0f} s")
        time.sleep(POLL_S / 2)


def workers(namespace: Namespace, job: JobView) -> dict[str, int]:
    """Running pods of the job's Ray cluster, by pool; `head` is one of them."""
    counts: dict[str, int] = {}
    for pod in namespace.pods(f"ray.io/cluster={job.cluster}") if job.cluster else []:
        if pod.status.phase == "Running":
            pool = pod.metadata.labels.get("ray.io/group", "head").removesuffix("group")
            counts[pool] = counts.get(pool, 0) + 1
    return counts


def troubles(namespace: Namespace, job: JobView) -> list[str]:
    """Why pods of the job's Ray cluster do not run, one line a pod."""
    found = []
    for pod in namespace.pods(f"ray.io/cluster={job.cluster}") if job.cluster else []:
        waiting = [c.state.waiting for c in pod.status.container_statuses or () if c.state.waiting]
        reasons = [f"{w.reason}: {w.message or ''}" for w in waiting if w.reason not in ORDINARY]
        conditions = pod.status.conditions or ()
        reasons += [f"{c.reason}: {c.message}" for c in conditions if c.type == "PodScheduled" and c.status == "False"]
        if reasons:
            found.append(f"{pod.metadata.name} {' '.join(reasons[0].split())}")
    return found


def logs(namespace: Namespace, job: JobView, *, keep_following: bool) -> Iterator[bytes]:
    """What the driver wrote, from its youngest submitter pod.

    Raises:
        WrongInputError: it has none yet.
    """
    pods = namespace.pods(f"job-name={job.name}")
    if not pods or pods[-1].status.phase == "Pending":
        raise WrongInputError(f"job {job.name} is {job.state} and has written nothing yet")
    with one_line_errors(f"cannot read the log of {job.name}"):
        yield from namespace.core.read_namespaced_pod_log(
            pods[-1].metadata.name, namespace.name, follow=keep_following, _preload_content=False
        )


def age(job: JobView) -> str:
    """Time since it was submitted, for people."""
    minutes = int((datetime.now(UTC) - job.created).total_seconds() // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
