"""Submit, find, follow and cancel the RayJob of a study."""

import time
from collections.abc import Iterator, Sequence
from enum import StrEnum

from synfundus.cluster.capacity import require_capacity
from synfundus.cluster.kube import Namespace
from synfundus.cluster.ray_job import FAILED, RayJob
from synfundus.cluster.template import StudyJob, Template, job_of
from synfundus.errors import SynfundusError, WrongInputError
from synfundus.study import Study

POLL_S = 2.0
OUTAGE_S = 300.0
"""Longest outage of the API server that `follow` waits for."""
DELETION_S = 120.0
"""Time within which a deleted job and its pods are gone."""


class Submitted(StrEnum):
    """Outcome of a submission, in the words that the user reads."""

    NEW = "submitted"
    AGAIN = "failed before and is submitted again; it resumes where it stopped"
    EXISTS = "exists already"


def submit_job(
    namespace: Namespace, template: Template, study: Study, text: str, overrides: Sequence[str]
) -> tuple[RayJob, Submitted]:
    """Create the job of a study, unless it exists and has not failed.

    Raises:
        WrongInputError: another job of the study is not over, the pods have no room for a stage, or KubeRay is too old.
        SynfundusError: an older job of the same name is not deleted in time.
    """
    study_job = job_of(template, study, text, overrides)
    require_capacity(study, study_job.spec)
    existing = namespace.job(study_job.name)
    has_failed = existing is not None and existing.state == FAILED
    if existing is not None and (has_failed or existing.is_deleted):
        cancel_job(namespace, existing)
        existing = None
    if existing is None:
        _require_no_other(namespace, study.name, study_job.name)
    created = None if existing else namespace.create_job(study_job.name, study_job.body)
    job = created or existing or namespace.job(study_job.name)
    if job is None:
        raise SynfundusError(f"job {study_job.name} was created and deleted by another user just now; submit it again")
    # The ConfigMap follows the job, because the job owns it; the job's pods wait for it. It is created for an existing
    # job, too: an earlier submission may have been interrupted between the two.
    _create_study_file(namespace, study_job, job.uid)
    return job, Submitted.EXISTS if created is None else Submitted.AGAIN if has_failed else Submitted.NEW


def _create_study_file(namespace: Namespace, study_job: StudyJob, uid: str) -> None:
    """Create the ConfigMap with the study file. That of a former job of the same name goes with that job.

    The ConfigMap is not replaced, because a user who may update ConfigMaps could also change the chart's template.

    Raises:
        SynfundusError: the ConfigMap of a former job still exists after two minutes.
    """
    deadline_s = time.monotonic() + DELETION_S
    while not namespace.create_config_map(study_job.name, study_job.config_map(uid), uid):
        if time.monotonic() > deadline_s:
            raise SynfundusError(
                f"ConfigMap {study_job.name} of a former job still exists after {DELETION_S:.0f} s, so the pods of the"
                " new job wait; delete it, and submit the study again"
            )
        time.sleep(POLL_S / 2)


def _require_no_other(namespace: Namespace, study: str, name: str) -> None:
    """Refuse a second job of one study: both would write to the same folder below `runs/`."""
    for other in namespace.jobs():
        if other.study == study and other.name != name and not other.is_over:
            raise WrongInputError(
                f"job {other.name} of study {study} (root {other.root}) is {other.state}, with other settings;"
                " wait for it, or end it with `synfundus cluster cancel`"
            )


def find(namespace: Namespace, study: str, settings_digest: str) -> RayJob:
    """Return the latest job of a study whose settings have this digest; another one may belong to another user.

    Raises:
        WrongInputError: no job has these settings.
    """
    of_study = [job for job in namespace.jobs() if job.study == study]
    found = [job for job in of_study if job.settings_digest == settings_digest]
    if found:
        return found[-1]
    if of_study:
        other = of_study[-1]
        raise WrongInputError(
            f"no job of study {study} has these settings; {other.name} (root {other.root}, {other.state}) has others:"
            " pass the same file and --set options that you submitted"
        )
    raise WrongInputError(
        f"namespace {namespace.name} has no job of study {study}; submit it with `synfundus cluster submit`"
    )


def follow(namespace: Namespace, name: str, timeout_s: float) -> Iterator[RayJob]:
    """Yield the job each time its state changes, until it is over. Outages of the API server up to 5 minutes pass.

    Raises:
        SynfundusError: the job no longer exists, `timeout_s` have passed, or the outage is longer.
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
            if time.monotonic() > min(deadline_s, answered_s + OUTAGE_S):
                raise
            time.sleep(POLL_S)
            continue
        if job is None:
            raise SynfundusError(f"job {name} no longer exists: another user cancelled it; submit it again")
        if job.state != state:
            yield job
        if job.is_over:
            return
        state = job.state
        if time.monotonic() > deadline_s:
            raise SynfundusError(f"job {name} is {job.state} after {timeout_s:.0f} s; it continues")
        time.sleep(POLL_S)


def cancel_job(namespace: Namespace, job: RayJob) -> None:
    """Delete a job and its Ray cluster. Its objects below the root stay, and the next submission resumes from them.

    Raises:
        SynfundusError: the job or one of its pods still exists after two minutes.
    """
    namespace.delete_job(job.name, job.uid)
    deadline_s = time.monotonic() + DELETION_S
    while _exists(namespace, job):
        if time.monotonic() > deadline_s:
            raise SynfundusError(
                f"job {job.name} or one of its pods still exists {DELETION_S:.0f} s after its deletion began; try again"
            )
        time.sleep(POLL_S / 2)


def _exists(namespace: Namespace, job: RayJob) -> bool:
    """Return whether the job or a pod of it exists. A new job of the same name is another job."""
    current = namespace.job(job.name)
    if current is not None:
        return current.uid == job.uid
    return bool(namespace.pods(f"ray.io/originated-from-cr-name={job.name}"))
