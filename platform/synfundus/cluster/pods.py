"""The pods of a job: which run, why others do not, and what the driver wrote."""

from collections.abc import Iterator
from typing import Any

from synfundus.cluster.jobs import JobView, minutes_since
from synfundus.cluster.kube import Namespace, one_line_errors, time_of
from synfundus.errors import WrongInputError

ORDINARY = ("ContainerCreating", "PodInitializing")
"""What every pod waits for."""


def _of_ray(namespace: Namespace, job: JobView) -> list[Any]:
    """Pods of the job's Ray cluster, which it may not have yet."""
    return namespace.pods(f"ray.io/cluster={job.cluster}") if job.cluster else []


def _submitters(namespace: Namespace, job: JobView) -> list[Any]:
    """Pods that start the driver, one a try."""
    return namespace.pods(f"job-name={job.name}")


def workers(namespace: Namespace, job: JobView) -> dict[str, int]:
    """Running pods of the job's Ray cluster, by pool; `head` is one of them."""
    counts: dict[str, int] = {}
    for pod in _of_ray(namespace, job):
        if pod.status.phase == "Running":
            pool = pod.metadata.labels.get("ray.io/group", "head").removesuffix("group")
            counts[pool] = counts.get(pool, 0) + 1
    return counts


def troubles(namespace: Namespace, job: JobView) -> list[str]:
    """Why pods of the job do not run, one line a pod; then the youngest warning about what does not run."""
    found, pods = [], [*_of_ray(namespace, job), *_submitters(namespace, job)]
    for pod in pods:
        containers = [*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())]
        waiting = [container.state.waiting for container in containers if container.state.waiting]
        reasons = [f"{w.reason}: {w.message or ''}" for w in waiting if w.reason not in ORDINARY]
        conditions = pod.status.conditions or ()
        reasons += [f"{c.reason}: {c.message}" for c in conditions if c.type == "PodScheduled" and c.status == "False"]
        if reasons:
            found.append(f"{pod.metadata.name} {' '.join(reasons[0].split())}")
    if not job.is_over:
        idle = {pod.metadata.name for pod in pods if pod.status.phase == "Pending"}
        found += _warning(namespace, {job.name, job.cluster} | idle)
    return found


def _warning(namespace: Namespace, names: set[str | None]) -> list[str]:
    """The youngest event that warns of objects of these names: a quota, Pod security, a volume that does not mount."""
    about = [event for event in namespace.warnings() if event.involved_object.name in names]
    return [
        f"{event.involved_object.kind} {event.involved_object.name} {event.reason}:"
        f" {' '.join((event.message or '').split())} ({minutes_since(time_of(event))} ago)"
        for event in about[-1:]
    ]


def logs(namespace: Namespace, job: JobView, *, keep_following: bool) -> Iterator[bytes]:
    """What the driver wrote, from its youngest submitter pod.

    Raises:
        WrongInputError: it has none yet.
    """
    pods = _submitters(namespace, job)
    if not pods or pods[-1].status.phase == "Pending":
        raise WrongInputError(f"job {job.name} is {job.state} and has written nothing yet")
    with one_line_errors(f"cannot read the log of {job.name}"):
        yield from namespace.core.read_namespaced_pod_log(
            pods[-1].metadata.name, namespace.name, follow=keep_following, _preload_content=False
        )
