"""`synfundus cluster` against an API server: which job a verb takes, and its messages when something fails."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.kubernetes_api import CONFIG_MAPS, EVENTS, JOBS, PODS, KubernetesApi, kubernetes_api
from synfundus.cluster import jobs
from synfundus.cluster.kube import Namespace
from synfundus.errors import SynfundusError
from synfundus_jobs import cli

CLUSTER = {
    "authOptions": {"mode": "token", "secretName": "synfundus-ray-token"},
    "headGroupSpec": {"rayStartParams": {"num-cpus": "4"}},
    "workerGroupSpecs": [{"groupName": "sampling", "maxReplicas": 4, "rayStartParams": {"num-cpus": "1"}}],
}
METADATA = {
    "labels": {"synfundus.io/study": "@STUDY@", "synfundus.io/settings": "@SETTINGS@"},
    "annotations": {"synfundus.io/root": "@ROOT@"},
}
REPOSITORY = Path(__file__).parents[3]
A, B = "root=s3://bucket/a", "root=s3://bucket/b"


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    """An API server with the chart's template; the kubeconfig names it."""
    with kubernetes_api() as api:
        spec = {"entrypoint": "run@OVERRIDES@", "configMap": "@CONFIGMAP@", "rayClusterSpec": CLUSTER}
        data = {"spec.yaml": yaml.safe_dump(spec), "metadata.yaml": yaml.safe_dump(METADATA)}
        labels = {"synfundus.io/role": "job-template"}
        api.put(CONFIG_MAPS, {"metadata": {"name": "synfundus-job-template", "labels": labels}, "data": data})
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path, **{"current-context": "here"})))
        monkeypatch.setattr(jobs, "POLL_S", 0.01)
        yield api


@pytest.fixture
def study(tmp_path: Path) -> str:
    path = tmp_path / "study.yaml"
    path.write_text("recipe: phantom-cpu\nname: demo\nroot: outputs\n")
    return str(path)


def jobs_of(api: KubernetesApi) -> dict[str, dict[str, Any]]:
    return {path.rpartition("/")[2]: job for path, job in api.objects.items() if path.startswith(JOBS)}


def the_job(api: KubernetesApi) -> dict[str, Any]:
    (job,) = jobs_of(api).values()
    return job


def ended(job: dict[str, Any], status: str) -> None:
    job["status"] = {"jobDeploymentStatus": "Complete", "jobStatus": status, "message": "out of memory"}


def submit(study: str, root: str = A) -> int:
    return cli.main(["cluster", "submit", study, "--set", root])


def test_a_job_and_its_file_are_made_once(api: KubernetesApi, study: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert submit(study) == 0
    job = the_job(api)
    file = api.objects[f"{CONFIG_MAPS}/{job['metadata']['name']}"]
    assert file["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    assert job["spec"]["entrypoint"] == f"run --set {A}"
    assert submit(study) == 0
    assert jobs_of(api) == {job["metadata"]["name"]: job}
    ended(job, "SUCCEEDED")
    assert submit(study) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert "submitted" in first
    assert "exists already, waiting" in second
    assert "exists already, succeeded" in third


def test_a_failed_job_is_submitted_again(api: KubernetesApi, study: str, capsys: pytest.CaptureFixture[str]) -> None:
    submit(study)
    before = the_job(api)
    ended(before, "FAILED")
    assert submit(study) == 0
    again = the_job(api)
    assert again["metadata"]["name"] == before["metadata"]["name"]
    assert again["metadata"]["uid"] != before["metadata"]["uid"]
    assert "failed before and is submitted again" in capsys.readouterr().out.splitlines()[-1]


def test_a_job_that_is_being_deleted_is_replaced(api: KubernetesApi, study: str) -> None:
    submit(study)
    before = the_job(api)
    before["metadata"]["deletionTimestamp"] = "2026-11-26T03:00:00Z"
    api.reads_until_gone, api.requests_until_collected = 3, 5
    assert submit(study) == 0
    after = the_job(api)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    file = api.objects[f"{CONFIG_MAPS}/{after['metadata']['name']}"]
    # Kubernetes deletes a ConfigMap with the old job that owns it, and the pods of the new job would wait forever.
    assert [owner["uid"] for owner in file["metadata"]["ownerReferences"]] == [after["metadata"]["uid"]]


def test_a_job_whose_deletion_does_not_end_is_one_line(
    api: KubernetesApi, study: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(study)
    the_job(api)["metadata"]["deletionTimestamp"] = "2026-11-26T03:00:00Z"
    api.reads_until_gone = 1_000_000
    monkeypatch.setattr(jobs, "DELETION_S", 0.1)
    assert submit(study) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "after its deletion began" in line


def test_the_second_of_two_submitters_finds_the_job_of_the_first(
    api: KubernetesApi, study: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(study)
    read, reads = Namespace.job, iter([True])
    monkeypatch.setattr(Namespace, "job", lambda self, name: None if next(reads, False) else read(self, name))
    assert submit(study) == 0
    assert "exists already, waiting" in capsys.readouterr().out.splitlines()[-1]


def test_a_job_that_somebody_else_has_submitted_again_is_not_deleted(
    api: KubernetesApi, study: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(study)
    ended(the_job(api), "FAILED")
    delete = Namespace.delete_job

    def too_late(*arguments: Any) -> None:
        former = the_job(api)
        api.put(JOBS, {key: value for key, value in former.items() if key != "status"})
        api.orphan(former["metadata"]["uid"])
        delete(*arguments)

    monkeypatch.setattr(Namespace, "delete_job", too_late)
    assert submit(study) == 0
    assert "exists already, waiting" in capsys.readouterr().out.splitlines()[-1]
    assert "deletionTimestamp" not in the_job(api)["metadata"]


@pytest.mark.parametrize("verb", ["status", "logs", "wait", "cancel", "dashboard"])
def test_no_verb_takes_a_job_of_other_settings(
    verb: str, api: KubernetesApi, study: str, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(study, B)
    ended(the_job(api), "SUCCEEDED")
    submit(study, "root=s3://bucket/c")
    existing = jobs_of(api)
    assert cli.main(["cluster", verb, study, "--set", A]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no job of study demo has these settings" in line
    assert "s3://bucket/c" in line
    assert jobs_of(api) == existing


def test_wait_names_the_root_of_its_own_job(api: KubernetesApi, study: str, capsys: pytest.CaptureFixture[str]) -> None:
    for root in (A, B):
        submit(study, root)
        for job in jobs_of(api).values():
            ended(job, "SUCCEEDED")
    assert cli.main(["cluster", "wait", study, "--set", A]) == 0
    assert "report: s3://bucket/a/reports/demo/index.html" in capsys.readouterr().out


def test_an_outage_of_the_api_server_is_waited_for(
    api: KubernetesApi, study: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(study)
    name = the_job(api)["metadata"]["name"]
    namespace = Namespace("fundus")
    states = jobs.follow(namespace, name, 60)
    assert next(states).state == "waiting"
    ended(the_job(api), "SUCCEEDED")
    api.num_failures = 5
    assert [job.state for job in states] == ["succeeded"]
    api.num_failures = 1000
    monkeypatch.setattr(jobs, "OUTAGE_S", 0.1)
    with pytest.raises(SynfundusError, match="503"):
        next(jobs.follow(namespace, name, 60))


def test_the_ready_role_allows_every_request_of_the_command(api: KubernetesApi, study: str) -> None:
    """The verbs submit, fail, submit again over the first job's ConfigMap, and cancel. No pod exists here."""
    submit(study)
    ended(the_job(api), "FAILED")
    api.requests_until_collected = 5
    submit(study)
    assert cli.main(["cluster", "list"]) == 0
    assert cli.main(["cluster", "status", study, "--set", A]) == 0
    assert cli.main(["cluster", "cancel", study, "--set", A]) == 0
    requested = set()
    for method, path in (entry.split() for entry in api.log):
        kind, _, name = path.partition("/namespaces/fundus/")[2].partition("/")
        verb = {"GET": "get" if name else "list", "POST": "create", "PUT": "update", "DELETE": "delete"}[method]
        requested.add((kind, verb))
    role = yaml.safe_load((REPOSITORY / "infra" / "kubernetes" / "user-role.yaml").read_text())
    allowed = {(kind, verb) for rule in role["rules"] for kind in rule["resources"] for verb in rule["verbs"]}
    assert requested <= allowed
    of_pods = {("pods/log", "get"), ("pods/portforward", "get"), ("pods/portforward", "create"), ("secrets", "get")}
    assert allowed - requested == of_pods
    assert ("configmaps", "update") not in allowed  # else one user may change the template of all users' jobs
    (secrets,) = [rule for rule in role["rules"] if "secrets" in rule["resources"]]
    assert secrets["resourceNames"] == [CLUSTER["authOptions"]["secretName"]]  # type: ignore[index]


def pod(name: str, phase: str = "Pending", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {}}, "status": {"phase": phase, **status}}


def test_a_study_that_needs_more_than_the_pods_hold_is_refused_and_creates_nothing(
    api: KubernetesApi, study: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["cluster", "submit", study, "--set", A, "--set", "samples.resources.num_gpus=1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "samples.resources: needs 2 x (1 CPU and 1 GPU) at once, and the pool sampling can hold 0" in line
    assert jobs_of(api) == {}


def test_a_config_map_of_a_former_job_that_stays_is_one_line(
    api: KubernetesApi, study: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(study)
    ended(the_job(api), "FAILED")
    api.requests_until_collected = 1_000_000
    monkeypatch.setattr(jobs, "DELETION_S", 0.1)
    assert submit(study) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "of a former job still exists" in line


def test_status_says_that_no_operator_has_seen_the_job(
    api: KubernetesApi, study: str, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(study)
    assert cli.main(["cluster", "status", study, "--set", A]) == 0
    assert "the KubeRay operator has not started the job yet" in capsys.readouterr().out


def test_status_says_how_a_head_ended_that_kuberay_has_replaced(
    api: KubernetesApi, study: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text is that of KubeRay 1.6.2."""
    submit(study)
    job = the_job(api)
    job["status"] = {"jobDeploymentStatus": "Initializing", "rayClusterName": "cluster-1"}
    state = (
        "ExitCode:1,Signal:0,Reason:Error,Message:File x\nAuthenticationError: no token\n,StartedAt:2026-11-27 14:32:53"
    )
    message = (
        "Deleted head Pod fundus/head; Pod status: Running; Pod restart policy: Never; Ray container terminated status:"
        f" &ContainerStateTerminated{{{state} +0000 UTC,ContainerID:c,}}"
    )
    about = {"kind": "RayCluster", "name": "cluster-1"}
    event = {"metadata": {"name": "e"}, "involvedObject": about, "reason": "DeletedHeadPod", "message": message}
    api.put(EVENTS, event | {"lastTimestamp": "2026-11-26T03:00:00Z"})
    assert cli.main(["cluster", "status", study, "--set", A]) == 0
    assert "the last head ended with exit code 1 (Error): AuthenticationError: no token" in capsys.readouterr().out


def test_status_gives_the_last_line_of_a_container_that_ended(
    api: KubernetesApi, study: str, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(study)
    job = the_job(api)
    job["status"] = {"jobDeploymentStatus": "Initializing", "rayClusterName": "cluster-1"}
    ended = {"exitCode": 1, "reason": "Error", "message": "Traceback\nAuthenticationError: no token\n"}
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}
    common = {"name": "c", "image": "i", "imageID": "", "ready": False, "restartCount": 3}
    container = common | {"state": {"waiting": waiting}, "lastState": {"terminated": ended}}
    head = pod("head", "Running", containerStatuses=[container])
    head["metadata"]["labels"]["ray.io/cluster"] = "cluster-1"
    api.put(PODS, head)
    assert cli.main(["cluster", "status", study, "--set", A]) == 0
    assert "head ended with exit code 1 (Error): AuthenticationError: no token" in capsys.readouterr().out


def test_status_gives_the_reasons_why_nothing_runs(
    api: KubernetesApi, study: str, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(study)
    job = the_job(api)
    job["status"] = {"jobDeploymentStatus": "Initializing", "rayClusterName": "cluster-1"}
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such\n image"}}}
    container = {"name": "c", "image": "i", "imageID": "", "ready": False, "restartCount": 0, **waiting}
    worker, submitter = (
        pod("worker", initContainerStatuses=[container]),
        pod("submitter", containerStatuses=[container]),
    )
    worker["metadata"]["labels"]["ray.io/cluster"] = "cluster-1"
    submitter["metadata"]["labels"]["job-name"] = job["metadata"]["name"]
    for one in (worker, submitter):
        api.put(PODS, one)
    for number, (name, reason) in enumerate(
        [("cluster-1", "Older"), ("cluster-1", "FailedToCreateHeadPod"), ("another", "Other"), ("worker", "Repeated")]
    ):
        about = {"kind": "RayCluster", "name": name}
        seen = f"2026-11-26T03:0{number}:00Z"
        event = {"metadata": {"name": f"e{number}"}, "involvedObject": about, "reason": reason, "lastTimestamp": seen}
        api.put(EVENTS, event | {"message": "exceeded quota"})
    assert cli.main(["cluster", "status", study, "--set", A]) == 0
    out = capsys.readouterr().out
    assert "worker ImagePullBackOff: no such image" in out
    assert "submitter ImagePullBackOff: no such image" in out
    assert "RayCluster cluster-1 FailedToCreateHeadPod: exceeded quota" in out
    assert "Older" not in out
    assert "Repeated" not in out  # the pod itself gives its reason


def test_status_of_a_running_job_gives_pending_pods_only(
    api: KubernetesApi, study: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The head ended once and was restarted, and a quota was exceeded before the job ran."""
    submit(study)
    job = the_job(api)
    job["status"] = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING", "rayClusterName": "cluster-1"}
    ended = {"exitCode": 1, "reason": "Error", "message": "no token"}
    common = {"name": "c", "image": "i", "imageID": "", "ready": True, "restartCount": 1}
    head = pod(
        "head", "Running", containerStatuses=[common | {"state": {"running": {}}, "lastState": {"terminated": ended}}]
    )
    no_room = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    for one in (head, pod("worker", conditions=[no_room]), pod("mounting")):
        one["metadata"]["labels"]["ray.io/cluster"] = "cluster-1"
        api.put(PODS, one)
    for name, reason in (("cluster-1", "FailedToCreateHeadPod"), ("head", "BackOff"), ("mounting", "FailedMount")):
        event = {"metadata": {"name": reason}, "involvedObject": {"kind": "Pod", "name": name}, "reason": reason}
        api.put(EVENTS, event | {"lastTimestamp": "2026-11-26T03:00:00Z", "message": "trouble"})
    assert cli.main(["cluster", "status", study, "--set", A]) == 0
    out = capsys.readouterr().out
    assert "worker Unschedulable: 0/3 nodes" in out
    assert "Pod mounting FailedMount: trouble" in out
    assert out.count("waits") == 2, out


def with_a_head(api: KubernetesApi) -> dict[str, Any]:
    """Give the job a Ray cluster whose submitter wrote a long log."""
    job = the_job(api)
    job["status"] = {"jobDeploymentStatus": "Running", "rayClusterName": "cluster-1"}
    head = pod("head", "Running")
    head["metadata"]["labels"] |= {"ray.io/cluster": "cluster-1", "ray.io/node-type": "head"}
    submitter = pod("submitter", "Running")
    submitter["metadata"]["labels"]["job-name"] = job["metadata"]["name"]
    for one in (head, submitter):
        api.put(PODS, one)
    api.objects[f"{PODS}/submitter/log"] = {"metadata": {}, "text": "line " * 100_000}
    secret = {"metadata": {"name": "synfundus-ray-token"}, "data": {"auth_token": "dG9rZW4="}}
    api.put(PODS.replace("pods", "secrets"), secret)
    return job


def test_the_dashboard_ends_in_one_line_with_its_pod(
    api: KubernetesApi, study: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The API server here cannot forward ports."""
    submit(study)
    with_a_head(api)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def visit() -> None:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as browser:
                browser.recv(1)
                return
            time.sleep(0.1)

    visitor = threading.Thread(target=visit)
    visitor.start()
    assert cli.main(["cluster", "dashboard", study, "--set", A, "--port", str(port)]) == 1
    visitor.join()
    (line,) = capsys.readouterr().err.splitlines()
    name = the_job(api)["metadata"]["name"]
    reason = "cannot reach pod head: Handshake status 404 Not Found"
    assert line == f"error: job {name}: the dashboard ended ({reason}); run the command again"


def test_a_reader_that_closes_the_pipe_of_a_log_is_no_error(api: KubernetesApi, study: str) -> None:
    submit(study)
    with_a_head(api)
    logs = f"{sys.executable} -m synfundus_jobs cluster logs {study} --set {A}"
    command = f"set -o pipefail; {logs} | head -c 10"
    outcome = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (outcome.returncode, len(outcome.stdout), outcome.stderr) == (0, 10, "")


def test_list_without_jobs_is_one_line(api: KubernetesApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cluster", "list"]) == 0
    assert "no jobs in fundus" in capsys.readouterr().out
    api.without = (JOBS,)
    assert cli.main(["cluster", "list"]) == 2
    assert "install the KubeRay operator" in capsys.readouterr().err


def test_a_context_can_be_named_without_a_current_one(
    api: KubernetesApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.kubeconfig(tmp_path)
    assert cli.main(["cluster", "list", "--context", "here"]) == 0
    assert "no jobs in fundus" in capsys.readouterr().out
    assert cli.main(["cluster", "list"]) == 2


@pytest.mark.parametrize("content", [None, "", "a: [", "hello", "clusters: {}", "- 1"])
def test_no_cluster_is_one_line(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert cli.main(["cluster", "list"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no cluster: ")
    assert str(path) in line
