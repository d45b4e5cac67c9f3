"""What a person is told of a job, from what KubeRay writes into its status."""

from pathlib import Path
from typing import Any

import pytest

from synfundus.cluster.jobs import view
from synfundus.cluster.template import Template, job_of, require_reachable
from synfundus.errors import WrongInputError
from synfundus.study import resolve


def job(status: dict[str, Any] | None) -> dict[str, Any]:
    labels = {"synfundus.io/study": "demo"}
    metadata = {"name": "demo-0123456789", "uid": "u", "labels": labels, "creationTimestamp": "2026-11-26T02:35:02Z"}
    return {"metadata": metadata, **({} if status is None else {"status": status})}


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
def test_a_job_has_the_state_that_kuberay_says(status: dict[str, Any] | None, state: str, is_over: bool) -> None:
    seen = view(job(status))
    assert (seen.state, seen.is_over, seen.study) == (state, is_over, "demo")


PHANTOMS = "data: {sources: [{layout: phantom, num_images: 100, size_px: 64}]}"


@pytest.mark.parametrize(
    ("root", "more", "told"),
    [
        ("outputs", PHANTOMS, "root: .* is on this machine"),
        ("s3://b/p", "data: {sources: [{layout: folder, path: clinic}]}", "data.sources.0.path: .*/clinic is on this"),
        ("s3://b/p", "generator: {init_from: weights}", "generator.init_from: .*/weights is on this machine"),
        ("s3://b/p", "evaluation: {inception_weights: w.pt}", "evaluation.inception_weights: .*/w.pt is on this"),
        (
            "s3://b/p",
            "data: {sources: [{layout: folder, path: '${SYNFUNDUS_REAL_DATA}/x'}]}",
            r"data.sources.0.path uses \$\{SYNFUNDUS_REAL_DATA\}, which pods do not have",
        ),
    ],
)
def test_what_pods_cannot_see_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str, more: str, told: str
) -> None:
    monkeypatch.setenv("SYNFUNDUS_REAL_DATA", "s3://real")
    text = f"recipe: phantom-cpu\nname: demo\nroot: {root}\n{more}\n"
    with pytest.raises(WrongInputError, match=told):
        require_reachable(resolve(text, "study", tmp_path), text)


def test_what_pods_can_see_is_let_through(tmp_path: Path) -> None:
    text = "recipe: phantom-cpu\nname: demo\nroot: s3://b/p\n# unlike ${SYNFUNDUS_REAL_DATA}\n"
    require_reachable(resolve(text, "study", tmp_path), text)


@pytest.mark.parametrize("name", ["2024-study", "demo-"])
def test_a_name_that_kubernetes_refuses_is_refused(tmp_path: Path, name: str) -> None:
    text = f"recipe: phantom-cpu\nname: {name}\nroot: s3://b/p\n"
    template = Template("synfundus-job-template", "uid", "{}", "{}")
    with pytest.raises(WrongInputError, match="cannot name a job"):
        job_of(template, resolve(text, "study", tmp_path), text, [])
