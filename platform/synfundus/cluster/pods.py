"""Pods of a job: running ones by pool, reasons why others do not run, and the driver's log."""

from collections.abc import Iterator
from typing import Any

from synfundus.cluster.kube import Namespace, one_line_errors, time_of
from synfundus.cluster.ray_job import RayJob, time_since
from synfundus.errors import WrongInputError

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
    """Return why pods of the job do not run, one line per pod, and the latest warning about objects of the job."""
    found, pods = [], [*_ray_pods(namespace, job), *_submitters(namespace, job)]
    for pod in pods:
        containers = [*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())]
        waiting = [container.state.waiting for container in containers if container.state.waiting]
        reasons = [f"{w.reason}: {w.message or ''}" for w in waiting if w.reason not in ORDINARY]
        conditions = pod.status.conditions or ()
        reasons += [f"{c.reason}: {c.message}" for c in conditions if c.type == "PodScheduled" and c.status == "False"]
        if reasons:
            found.append(f"{pod.metadata.name} {' '.join(reasons[0].split())}")
    if not job.is_over:
        pending = {pod.metadata.name for pod in pods if pod.status.phase == "Pending"}
        found += _latest_warning(namespace, {job.name, job.cluster} | pending)
    return found


def _latest_warning(namespace: Namespace, names: set[str | None]) -> list[str]:
    """Return the latest warning about objects of these names: a quota, Pod security, a volume that does not mount."""
    events = [event for event in namespace.warnings() if event.involved_object.name in names]
    return [
        f"{event.involved_object.kind} {event.involved_object.name} {event.reason}:"
        f" {' '.join((event.message or '').split())} ({time_since(time_of(event))} ago)"
        for event in events[-1:]
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
