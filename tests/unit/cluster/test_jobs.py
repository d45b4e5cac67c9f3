"""RayJobs of studies: their state from KubeRay's status, their names, and studies that pods cannot reach."""

from pathlib import Path

import pytest

from synfundus.cluster.ray_job import RayJob
from synfundus.cluster.reachable import require_reachable
from synfundus.cluster.template import Template, job_of
from synfundus.errors import WrongInputError
from synfundus.study import resolve


def ray_job(status: dict[str, str] | None) -> RayJob:
    labels = {"synfundus.io/study": "demo"}
    metadata = {"name": "demo-0123456789", "uid": "u", "labels": labels, "creationTimestamp": "2026-11-26T02:35:02Z"}
    return RayJob.from_object({"metadata": metadata, **({} if status is None else {"status": status})})


@pytest.mark.parametrize(
    ("status", "state", "is_over"),
    [
        (None, "waiting", False),
        ({"jobDeploymentStatus": ""}, "waiting", False),
        ({"jobDeploymentStatus": "Initializing"}, "starting", False),
        ({"jobDeploymentStatus": "Waiting"}, "starting", False),
        ({"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, "running", False),
        ({"jobDeploymentStatus": "Retrying", "jobStatus": "FAILED"}, "retrying", False),
        ({"jobDeploymentStatus": "Suspending"}, "suspended", False),
        ({"jobDeploymentStatus": "Suspended"}, "suspended", False),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, "succeeded", True),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"}, "failed", True),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "FAILED"}, "failed", True),
        ({"jobDeploymentStatus": "Failed", "jobStatus": "FAILED"}, "failed", True),
        ({"jobDeploymentStatus": "ValidationFailed"}, "failed", True),
    ],
)
def test_the_state_of_a_job_follows_kuberays_status(status: dict[str, str] | None, state: str, is_over: bool) -> None:
    job = ray_job(status)
    assert (job.state, job.is_over, job.study) == (state, is_over, "demo")


PHANTOMS = "data: {sources: [{layout: phantom, num_images: 100, size_px: 64}]}"


@pytest.mark.parametrize(
    ("root", "settings", "message"),
    [
        ("outputs", PHANTOMS, "root: .* is on this machine"),
        ("s3://b/p", "data: {sources: [{layout: folder, path: clinic}]}", "data.sources.0.path: .*/clinic is on this"),
        ("s3://b/p", "generator: {init_from: weights}", "generator.init_from: .*/weights is on this machine"),
        ("s3://b/p", "evaluation: {inception_weights: w.pt}", "evaluation.inception_weights: .*/w.pt is on this"),
        (
            "s3://b/p",
            "transfer: {architectures: [a], arms: {x: {start: weights, weights: {a: w.pt}}}}",
            "transfer.arms.x.weights.a: .*/w.pt is on this machine",
        ),
        (
            "s3://b/p",
            "data: {sources: [{layout: folder, path: '${SYNFUNDUS_REAL_DATA}/x'}]}",
            r"data.sources.0.path uses \$\{SYNFUNDUS_REAL_DATA\}, which pods do not have",
        ),
    ],
)
def test_a_study_with_files_of_this_machine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str, settings: str, message: str
) -> None:
    monkeypatch.setenv("SYNFUNDUS_REAL_DATA", "s3://real")
    text = f"recipe: phantom-cpu\nname: demo\nroot: {root}\n{settings}\n"
    with pytest.raises(WrongInputError, match=message):
        require_reachable(resolve(text, "study", tmp_path), text)


def test_a_study_that_pods_can_reach_is_accepted(tmp_path: Path) -> None:
    text = "recipe: phantom-cpu\nname: demo\nroot: s3://b/p\n# unlike ${SYNFUNDUS_REAL_DATA}\n"
    require_reachable(resolve(text, "study", tmp_path), text)


@pytest.mark.parametrize("name", ["2024-study", "demo-"])
def test_a_name_that_kubernetes_refuses_is_refused(tmp_path: Path, name: str) -> None:
    text = f"recipe: phantom-cpu\nname: {name}\nroot: s3://b/p\n"
    template = Template("synfundus-job-template", "uid", "{}", "{}")
    with pytest.raises(WrongInputError, match="cannot name a job"):
        job_of(template, resolve(text, "study", tmp_path), text, [])
