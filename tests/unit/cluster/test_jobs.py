"""What a person is told of a job, from what KubeRay writes into its status."""

from pathlib import Path
from typing import Any

import pytest

from synfundus.cluster.jobs import view
from synfundus.cluster.template import require_reachable
from synfundus.errors import WrongInputError
from synfundus.study import resolve
from synfundus_jobs import cli


def job(status: dict[str, Any] | None) -> dict[str, Any]:
    labels = {"synfundus.io/study": "demo"}
    metadata = {"name": "demo-0123456789", "labels": labels, "creationTimestamp": "2026-11-26T02:35:02Z"}
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


@pytest.mark.parametrize(
    ("root", "sources", "told"),
    [
        ("outputs", "sources: [{layout: phantom, num_images: 100, size_px: 64}]", "root: .* is on this machine"),
        ("s3://b/p", "sources: [{layout: folder, path: clinic}]", r"data.sources.0.path: .*/clinic is on this machine"),
    ],
)
def test_what_pods_cannot_see_is_refused(tmp_path: Path, root: str, sources: str, told: str) -> None:
    text = f"recipe: phantom-cpu\nname: demo\nroot: {root}\ndata:\n  {sources}\n"
    with pytest.raises(WrongInputError, match=told):
        require_reachable(resolve(text, "study", tmp_path))


def test_what_pods_can_see_is_let_through(tmp_path: Path) -> None:
    require_reachable(resolve("recipe: phantom-cpu\nname: demo\nroot: s3://b/p\n", "study", tmp_path))


def test_no_cluster_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert cli.main(["cluster", "list"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no cluster: ")
