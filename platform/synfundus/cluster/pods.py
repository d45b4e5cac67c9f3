"""Pods of a job: running ones by pool, reasons why others do not run, and the driver's log."""

import re
from collections.abc import Iterator
from typing import Any

from synfundus.cluster.kube import Namespace, one_line_errors, time_of
from synfundus.cluster.ray_job import RUNNING, WAITING, RayJob, time_since
from synfundus.errors import WrongInputError

ENDED = re.compile(
    r"ContainerStateTerminated\{ExitCode:(?P<code>\d+),.*?Reason:(?P<reason>\w*),Message:(?P<message>.*),StartedAt:",
    re.DOTALL,
)
"""Part of KubeRay's event about a deleted head that names the state of its container."""
ORDINARY = ("ContainerCreating", "PodInitializing")
"""Reasons why a healthy pod waits at its start."""


def _ray_pods(namespace: Namespace, job: RayJob) -> list[Any]:
    """Return the pods of the job's Ray cluster, which may not exist yet."""
    return namespace.pods(f"ray.io/cluster={job.cluster}") if job.cluster else []


def _submitters(namespace: Namespace, job: RayJob) -> list[Any]:
    """Return the pods that start the driver, one per attempt."""
    return namespace.pods(f"job-name={job.name}")


def workers(namespace: Namespace, job: RayJob) -> dict[str, int]:
    """Return the number of running pods of the job's Ray cluster, by pool; `head` counts as a pool."""
    counts: dict[str, int] = {}
    for pod in _ray_pods(namespace, job):
        if pod.status.phase == "Running":
            pool = pod.metadata.labels.get("ray.io/group", "head").removesuffix("group")
            counts[pool] = counts.get(pool, 0) + 1
    return counts


def troubles(namespace: Namespace, job: RayJob) -> list[str]:
    """Return what the job waits for: why its pods do not run, one line per pod, then warnings about its objects.

    Of a running job, only pods that do not run yet are given.
    """
    pods = [*_ray_pods(namespace, job), *_submitters(namespace, job)]
    objects = {job.name, job.cluster}
    if job.state == RUNNING:  # whatever kept it waiting has passed; its pools may still ask for more pods
        pods, objects = [pod for pod in pods if pod.status.phase == "Pending"], set()
    reasons = {pod.metadata.name: _reasons(pod, job) for pod in pods}
    found = [f"{name} {of_pod[0]}" for name, of_pod in reasons.items() if of_pod]
    if job.is_over:
        return found
    pending = {pod.metadata.name for pod in pods if pod.status.phase == "Pending"}
    unexplained = {name for name in pending if not reasons[name]}
    found += _former_head(namespace, job)
    found += _latest_warnings(namespace, objects | unexplained)
    if not found and job.state == WAITING:
        found = ["the KubeRay operator has not started the job yet; if this lasts, check that the operator runs"]
    return found


def _reasons(pod: Any, job: RayJob) -> list[str]:
    """Return why a pod does not run, the most specific reason first: image, Secret, exit, no node with room."""
    containers = [*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())]
    ended = [state for container in containers for state in _exits(container) if not job.is_over]
    reasons = [
        f"ended with exit code {one.exit_code} ({one.reason}): {_last_line(one.message)}"
        for one in ended
        if one.exit_code
    ]
    waiting = [container.state.waiting for container in containers if container.state.waiting]
    reasons += [f"{w.reason}: {w.message or ''}" for w in waiting if w.reason not in ORDINARY]
    conditions = pod.status.conditions or ()
    reasons += [f"{c.reason}: {c.message}" for c in conditions if c.type == "PodScheduled" and c.status == "False"]
    return [" ".join(reason.split()) for reason in reasons]


def _exits(container: Any) -> list[Any]:
    """Return the present and the last exit of a container, if there are any."""
    states = [container.state, container.last_state]
    return [state.terminated for state in states if state is not None and state.terminated is not None]


def _last_line(message: str | None) -> str:
    """Return the last line of a termination message, which is the end of the container's log."""
    lines = (message or "").strip().splitlines()
    return lines[-1] if lines else "no message"


def _former_head(namespace: Namespace, job: RayJob) -> list[str]:
    """Return how the last head ended, which KubeRay deletes and replaces. Empty if the job runs now."""
    if job.state == RUNNING:
        return []
    deleted = [one for one in namespace.events("reason=DeletedHeadPod") if one.involved_object.name == job.cluster]
    exits = [(event, ENDED.search(event.message or "")) for event in deleted]
    return [
        f"the last head ended with exit code {ended['code']} ({ended['reason']}): {_last_line(ended['message'])}"
        f" ({time_since(time_of(event))} ago)"
        for event, ended in exits[-1:]
        if ended
    ]


def _latest_warnings(namespace: Namespace, names: set[str | None]) -> list[str]:
    """Return the latest warning about each object of these names: a quota, Pod security, a volume that is missing."""
    latest = {event.involved_object.name: event for event in namespace.events("type=Warning")}
    return [
        f"{event.involved_object.kind} {name} {event.reason}:"
        f" {' '.join((event.message or '').split())} ({time_since(time_of(event))} ago)"
        for name, event in latest.items()
        if name in names
    ]


def driver_log(namespace: Namespace, job: RayJob, *, keep_following: bool) -> Iterator[bytes]:
    """Yield the driver's log, from the job's latest submitter pod.

    Raises:
        WrongInputError: there is no log yet.
    """
    pods = _submitters(namespace, job)
    if not pods or pods[-1].status.phase == "Pending":
        raise WrongInputError(f"job {job.name} is {job.state} and has no log yet; try again once it runs")
    with one_line_errors(f"cannot read the log of {job.name}"):
        yield from namespace.core.read_namespaced_pod_log(
            pods[-1].metadata.name, namespace.name, follow=keep_following, _preload_content=False
        )
