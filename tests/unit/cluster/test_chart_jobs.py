"""RayJobs of the chart: equal to those of the command line, with names that follow from their content."""

import json
import re
import shlex
from pathlib import Path

import pytest

from support.chart import ROOT, STUDY, STUDY_FILE, Document, helm, only, render_chart
from support.kubernetes_api import JOBS, kubernetes_api
from synfundus.cluster.template import Template, job_of
from synfundus.study import load_study


def test_the_command_line_makes_the_same_job_as_the_chart() -> None:
    override = "release.data_statement=phantoms, no people"
    escaped = override.replace(",", r"\,")
    documents = render_chart(*STUDY, "--set", f"studies.demo.set[1]={escaped}", "--set", "s3.secret=synfundus")
    of_chart = only(documents, "RayJob")
    (maps,) = [d for d in documents if d["metadata"]["name"] == "synfundus-job-template"]
    template = Template(maps["metadata"]["name"], "uid", maps["data"]["spec.yaml"], maps["data"]["metadata.yaml"])
    overrides = [ROOT, override]
    study_job = job_of(template, load_study(STUDY_FILE, overrides), STUDY_FILE.read_text(), overrides)
    of_command: Document = study_job.body

    def comparable(job: Document) -> Document:
        """Return the specification without the job's name, and its entrypoint as words: both quotings are right."""
        spec: Document = json.loads(json.dumps(job["spec"]).replace(job["metadata"]["name"], "NAME"))
        return spec | {"entrypoint": shlex.split(spec["entrypoint"])}

    assert comparable(of_command) == comparable(of_chart)
    assert comparable(of_chart)["entrypoint"][:5] == ["python", "-m", "synfundus_jobs", "study", "run"]
    assert comparable(of_chart)["entrypoint"][-2:] == ["--set", override]
    for key in ("labels", "annotations"):
        assert of_command["metadata"][key] == of_chart["metadata"][key]
    assert of_chart["metadata"]["annotations"] == {"synfundus.io/root": "s3://bucket/prefix"}
    assert of_command["metadata"]["ownerReferences"][0]["uid"] == "uid"
    config_map: Document = study_job.config_map("uid of the job")
    assert config_map["data"]["study.yaml"] == STUDY_FILE.read_text()
    assert config_map["metadata"]["ownerReferences"][0]["uid"] == "uid of the job"


def test_the_name_of_a_job_ends_in_a_digest_of_its_content() -> None:
    names = {
        only(render_chart(*STUDY, *change), "RayJob")["metadata"]["name"]
        for change in ([], [], ["--set", "image=other"], ["--set", "pools.sampling.maxWorkers=9"])
    }
    assert len(names) == 3
    assert all(re.fullmatch(r"demo-small-[0-9a-f]{10}", name) for name in names)


@pytest.mark.parametrize("name", ["n" * 63, "n" * 32 + "-" * 3 + "n"])
def test_a_long_name_leaves_room_for_the_six_characters_that_kuberay_appends(name: str) -> None:
    """KubeRay cuts the names of the Ray cluster's Secret and service account at 50 characters."""
    overrides = [ROOT, f"name={name}"]
    documents = render_chart(*STUDY, "--set", f"studies.demo.set[1]=name={name}")
    study = load_study(STUDY_FILE, overrides)
    of_command = job_of(Template("t", "uid", "{}", "{}"), study, STUDY_FILE.read_text(), overrides).name
    for job in (of_command, only(documents, "RayJob")["metadata"]["name"]):
        assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", job)
        assert len(job) <= 50 - len("-abcde")


@pytest.mark.parametrize(
    ("study", "status", "refused"),
    [
        ("demo-small", {"jobDeploymentStatus": "Running"}, True),
        ("demo-small", {}, True),
        ("demo-small", {"jobDeploymentStatus": "Complete"}, False),
        ("demo-small", {"jobDeploymentStatus": "Failed"}, False),
        ("another", {"jobDeploymentStatus": "Running"}, False),
    ],
)
def test_a_study_of_the_values_is_refused_while_another_job_of_it_runs(
    tmp_path: Path, study: str, status: dict[str, str], refused: bool
) -> None:
    with kubernetes_api() as api:
        metadata = {"name": "job-1", "namespace": "fundus", "labels": {"synfundus.io/study": study}}
        api.put(JOBS, {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": metadata, "status": status})
        kubeconfig = api.kubeconfig(tmp_path, **{"current-context": "here"})
        server = ["--dry-run=server", "--disable-openapi-validation", "--kubeconfig", str(kubeconfig)]
        outcome = helm(*STUDY, *server)
    assert ("studies.demo: job job-1 of study demo-small is not over" in outcome.stderr) == refused
    assert (outcome.returncode != 0) == refused, outcome.stderr


def test_overrides_decide_the_name_and_root_of_a_study() -> None:
    job = only(render_chart(*STUDY, "--set", "studies.demo.set[1]=name=other"), "RayJob")
    assert job["metadata"]["name"].startswith("other-")
    assert job["metadata"]["labels"]["synfundus.io/study"] == "other"
