"""A study as a RayJob in real pods, and its models behind a RayService: the commands of docs/cluster.md, in order."""

import base64
import contextlib
import http.client
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import boto3
import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError
from PIL import Image

from cluster.shell import Shell
from synfundus.cluster import jobs
from synfundus.cluster.kube import Namespace, connect
from synfundus.cluster.ray_job import SUCCEEDED, RayJob
from synfundus.cluster.template import settings_digest
from synfundus.environment import S3Environment
from synfundus.labels import LABEL_NAMES
from synfundus.storage import Storage, is_complete
from synfundus.storage.s3 import open_s3
from synfundus.study import Study, load_study

NAMESPACE, RELEASE = "fundus", "synfundus"
ROOT = "s3://synfundus/demo"
STUDY_FILE = Path(__file__).parents[2] / "studies" / "demo-small.yaml"
SETTINGS = settings_digest(STUDY_FILE.read_text(encoding="utf-8"), [f"root={ROOT}"])
STORE = "http://127.0.0.1:7070"
GATEWAY = "http://127.0.0.1:8000"
SECRETS = ("synfundus", "synfundus-reader", "synfundus-patient-key", "synfundus-keys", "s3-accounts")
USERS = {*(f"secret/{name}" for name in SECRETS), "pod/s3", "service/s3"}
"""Objects that the user creates, not the chart, the command line or the operator."""
OUTPUTS = ("data", "annotators", "generators", "samples")
"""Kinds of folders that are compared byte by byte. Reports and releases are not: they state versions and revision."""

Blocks = dict[str, list[str]]


@dataclass
class Watch:
    """Record of the job while it ran, and of the pods that the test deleted."""

    head: str | None = None
    """Name of the head that was deleted between two stages."""
    head_deleted: datetime | None = None
    """Time of that deletion."""
    counts: list[int] = field(default_factory=list)
    """Number of running sampling workers, each second."""
    deleted: str | None = None
    """Name of the worker that was deleted in the middle of sampling."""
    shards_at_deletion: int = 0
    """Number of shards at that moment."""


def listing() -> set[str]:
    """Return every object of the namespace but events, as kind/name."""
    kinds = _kubectl("api-resources", "--verbs=list", "--namespaced", "--output=name").split()
    kinds_but_events = ",".join(kind for kind in kinds if not kind.startswith("events") and ".metrics." not in kind)
    return {
        name
        for name in _kubectl(
            "get", kinds_but_events, "--namespace", NAMESPACE, "--output=name", "--ignore-not-found"
        ).split()
        if not re.match(r"endpoints(lices?\S*)?/s3\b", name)
    }


def _kubectl(*arguments: str) -> str:
    return subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(STUDY_FILE, [f"root={ROOT}"])


@pytest.fixture(scope="module")
def namespace(shell: Shell, blocks: Blocks) -> Namespace:
    """The namespace, enforcing `restricted`, with the user's Secret and an S3 store."""
    shell.run(*blocks["prepare"])
    return connect(namespace=NAMESPACE)


@pytest.fixture(scope="module")
def store(namespace: Namespace) -> Storage:
    """The root, read through the port that the guide forwards."""
    for secret in ("synfundus", "synfundus-patient-key"):
        for name, value in namespace.core.read_namespaced_secret(secret, NAMESPACE).data.items():
            os.environ[name] = base64.b64decode(value).decode()
    return open_s3(ROOT, S3Environment(endpoint=STORE, addressing="path"), create=False)


@pytest.fixture(scope="module")
def before(namespace: Namespace) -> set[str]:
    """Objects before the chart is installed."""
    return listing() | USERS


@pytest.fixture(scope="module")
def job(
    shell: Shell,
    blocks: Blocks,
    namespace: Namespace,
    store: Storage,
    study: Study,
    before: set[str],
    local_process: object,
) -> tuple[RayJob, Watch, str]:
    """The study's finished job, of which the head and a sampling worker were deleted while it ran."""
    assert "STATUS: deployed" in shell.run(*blocks["install"])
    assert "submitted" in shell.run(*blocks["submit"])
    watch, is_over = Watch(), threading.Event()
    watching = threading.Thread(target=_watch, args=(namespace, store, study, watch, is_over))
    watching.start()
    try:
        waited = shell.run(*blocks["wait"], timeout_s=1500)
    finally:
        is_over.set()
        watching.join()
    return jobs.find(namespace, study.name, SETTINGS), watch, waited


def _watch(namespace: Namespace, store: Storage, study: Study, watch: Watch, is_over: threading.Event) -> None:
    """Delete the head once the annotator is complete; count sampling workers, and delete one in the middle."""
    while not is_over.wait(1):
        if watch.head is None and is_complete(store, study.annotator_folder):
            (head,) = namespace.pods("ray.io/node-type=head")
            watch.head, watch.head_deleted = head.metadata.name, datetime.now(UTC)
            namespace.core.delete_namespaced_pod(watch.head, NAMESPACE, grace_period_seconds=0)
        running = [
            pod
            for pod in namespace.pods("ray.io/group=sampling")
            if pod.status.phase == "Running" and pod.metadata.deletion_timestamp is None
        ]
        watch.counts.append(len(running))
        if watch.deleted is None and len(running) == 2:
            shards = [name for name in store.names(study.samples_folder) if name.endswith(".parquet")]
            if len(shards) >= 2:
                watch.deleted, watch.shards_at_deletion = running[0].metadata.name, len(shards)
                namespace.core.delete_namespaced_pod(watch.deleted, NAMESPACE, grace_period_seconds=0)


@pytest.fixture(scope="module")
def local_process(
    store: Storage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """The same study on this machine, with the same key of patient ids and a pool of one worker.

    It runs beside the pods at low priority.
    """
    folder = tmp_path_factory.mktemp("local")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_"))}
    settings = ("--set", f"root={folder}/root", "--set", "samples.resources.pool_size=1")
    command = [sys.executable, "-m", "synfundus_jobs", "study", "run", str(STUDY_FILE), *settings]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["nice", "-n", "15", *command], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    yield process, folder
    _kill(process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # and its Ray processes
    process.wait()


@pytest.fixture(scope="module")
def local(job: object, local_process: tuple["subprocess.Popen[bytes]", Path], study: Study) -> Path:
    """Root of the study on this machine, once its samples are complete; later stages are not compared."""
    process, folder = local_process
    deadline_s = time.monotonic() + 900
    while not (folder / "root" / study.samples_folder / "manifest.json").exists():
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline_s
        time.sleep(0.5)
    _kill(process)
    return folder / "root"


def test_the_namespace_enforces_restricted(namespace: Namespace) -> None:
    labels = namespace.core.read_namespace(NAMESPACE).metadata.labels
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_study_succeeds_and_wait_prints_the_address_of_its_report(
    job: tuple[RayJob, Watch, str], study: Study
) -> None:
    view, _, waited = job
    assert view.state == SUCCEEDED
    assert f"report: {ROOT}/{study.report_folder}/index.html" in waited


def test_the_dashboard_needs_its_token(shell: Shell, job: tuple[RayJob, Watch, str], namespace: Namespace) -> None:
    command = ["cluster", "dashboard", str(STUDY_FILE), "--set", f"root={ROOT}", "-n", NAMESPACE, "--port", "8266"]
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("synfundus")), *command],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout is not None
        url, token = re.search(r"(http://\S+)  \(token (\S+);", process.stdout.readline()).groups()  # type: ignore[union-attr]
        with httpx.Client(base_url=url, timeout=60) as browser:
            assert browser.get("/api/jobs/").status_code == 401
            response = browser.get("/api/jobs/", headers={"Authorization": f"Bearer {token}"})
        assert [one["status"] for one in response.json() if one["type"] == "SUBMISSION"] == ["SUCCEEDED"]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()


def test_no_container_that_computes_has_a_kubernetes_token(job: tuple[RayJob, Watch, str]) -> None:
    assert job[0].cluster is not None
    selector = f"ray.io/cluster={job[0].cluster},ray.io/node-type=head"
    (head,) = _kubectl("get", "pods", "-n", NAMESPACE, "-l", selector, "--output=name").split()
    read = ["kubectl", "exec", "-n", NAMESPACE, head, "--container"]
    token = ["--", "ls", "/var/run/secrets/kubernetes.io/serviceaccount/token"]
    ray_head = subprocess.run([*read, "ray-head", *token], capture_output=True, text=True)
    assert ray_head.returncode != 0
    assert "No such file" in ray_head.stderr
    subprocess.run([*read, "autoscaler", *token], check=True)


def test_the_patient_key_is_in_no_environment_and_the_head_alone_has_its_file(
    job: tuple[RayJob, Watch, str],
) -> None:
    assert job[0].cluster is not None
    selector = f"ray.io/cluster={job[0].cluster},ray.io/node-type=head"
    (head,) = _kubectl("get", "pods", "-n", NAMESPACE, "-l", selector, "--output=name").split()
    execute = ["exec", "-n", NAMESPACE, head, "--container", "ray-head", "--", "sh", "-c"]
    key = _kubectl(*execute, "cat /etc/synfundus-patient/patient.key")
    assert key == os.environ["SYNFUNDUS_PATIENT_KEY"]
    assert key not in _kubectl(*execute, "cat /proc/[0-9]*/environ 2> /dev/null || true")


def test_the_sampling_pool_grows_from_zero_to_two_workers_and_back(
    job: tuple[RayJob, Watch, str], namespace: Namespace
) -> None:
    counts = job[1].counts
    assert counts[0] == 0
    assert max(counts) == 2
    deadline_s = time.monotonic() + 180
    while counts[-1] and time.monotonic() < deadline_s:
        time.sleep(1)
        counts.append(len(namespace.pods("ray.io/group=sampling")))
    assert counts[-1] == 0


def test_a_worker_was_deleted_in_the_middle_of_sampling(
    job: tuple[RayJob, Watch, str], store: Storage, study: Study
) -> None:
    watch = job[1]
    shards = [name for name in store.names(study.samples_folder) if name.endswith(".parquet")]
    assert watch.deleted is not None
    assert 2 <= watch.shards_at_deletion < len(shards) - 2


def test_a_job_that_lost_its_head_resumes_after_its_last_finished_stage(
    job: tuple[RayJob, Watch, str], store: Storage, study: Study
) -> None:
    watch = job[1]
    assert watch.head_deleted is not None
    s3 = boto3.client("s3", endpoint_url=STORE, region_name="us-east-1")
    annotator, generator = (
        s3.head_object(Bucket="synfundus", Key=f"demo/{folder}/manifest.json")["LastModified"]
        for folder in (study.annotator_folder, study.generator_folder)
    )
    assert annotator <= watch.head_deleted < generator


def test_submitting_twice_is_one_job(
    shell: Shell, blocks: Blocks, job: tuple[RayJob, Watch, str], namespace: Namespace
) -> None:
    assert "exists already, succeeded" in shell.run(blocks["submit"][0])
    assert [item.name for item in namespace.jobs()] == [job[0].name]
    assert job[0].name in shell.run("synfundus cluster list -n fundus")
    assert "publish" in shell.run(f"synfundus cluster logs studies/demo-small.yaml --set root={ROOT} -n fundus")


def test_other_settings_are_another_job_which_can_be_cancelled(
    shell: Shell, blocks: Blocks, job: tuple[RayJob, Watch, str], namespace: Namespace
) -> None:
    other = "studies/demo-small.yaml --set name=other --set root=s3://synfundus/other -n fundus"
    shell.run(f"synfundus cluster submit {other}")
    assert len({item.name for item in namespace.jobs()} - {job[0].name}) == 1
    refused = shell.run(f"synfundus cluster submit {other} --set samples.seed=5 || test $? = 2")
    assert "with other settings" in refused
    (install,) = blocks["install"]
    upgrade = install.replace("helm install", "helm upgrade --dry-run=server")
    of_values = "--set-file studies.x.file=studies/demo-small.yaml --set 'studies.x.set={name=other,root=s3://b/p}'"
    assert "of study other is not over" in shell.run(f"{upgrade} {of_values} || test $? = 1")
    assert "is deleted" in shell.run(f"synfundus cluster cancel {other}")
    assert {item.name for item in namespace.jobs()} == {job[0].name}


def test_one_command_fetches_the_report(shell: Shell, blocks: Blocks, job: object, study: Study) -> None:
    output = shell.run(*blocks["fetch"])
    page = Path(shell.run("pwd").split()[0]) / f"report-{study.name}" / "index.html"
    assert str(page.relative_to(page.parents[1])) in output
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("kind", OUTPUTS)
def test_every_byte_equals_that_of_a_run_on_this_machine(kind: str, local: Path, store: Storage) -> None:
    in_pods = {name: store.read(name) for name in store.names(kind)}
    on_disk = {str(path.relative_to(local)): path.read_bytes() for path in (local / kind).rglob("*") if path.is_file()}
    assert in_pods.keys() == on_disk.keys()
    assert [name for name in in_pods if in_pods[name] != on_disk[name]] == []


@pytest.fixture(scope="module")
def gateway(shell: Shell, blocks: Blocks, job: object) -> Iterator[httpx.Client]:
    """The endpoints through the Service, with a key."""
    shell.run(*blocks["serve"], timeout_s=1200)
    key = shell.run("cat test-key").split()[0]
    with httpx.Client(base_url=GATEWAY, headers={"Authorization": f"Bearer {key}"}, timeout=300) as client:
        yield client


def test_the_endpoint_generates_the_image_of_a_row_again(gateway: httpx.Client, local: Path, study: Study) -> None:
    row = pq.read_table(local / study.samples_folder / "shards" / "shard-00000.parquet").slice(3, 1).to_pylist()[0]
    request = {"condition": {name: row[f"condition_{name}"] for name in LABEL_NAMES}, "seed": row["seed"]}
    response = gateway.post("/v1/generate", json=request)
    assert response.status_code == 200, response.text
    generated, stored = (
        np.asarray(Image.open(io.BytesIO(data))).astype(int)
        for data in (base64.b64decode(response.json()["images"][0]["image"]), row["image"]["bytes"])
    )
    assert np.abs(generated - stored).max() <= 4
    assert np.abs(generated - stored).mean() <= 0.5


def test_the_endpoint_predicts_the_annotation_of_a_row_again(gateway: httpx.Client, local: Path, study: Study) -> None:
    row = pq.read_table(local / study.samples_folder / "shards" / "shard-00000.parquet").slice(3, 1).to_pylist()[0]
    response = gateway.post("/v1/diagnose", content=row["image"]["bytes"], headers={"Content-Type": "image/png"})
    assert response.status_code == 200, response.text
    for name, prediction in response.json()["images"][0]["predictions"].items():
        stored = row[f"probability_{name}"]
        assert (prediction["status"] == "available") == (stored is not None)
        assert stored is None or np.abs(np.subtract(prediction["probability"], stored)).max() <= 1e-4


def test_the_endpoints_credentials_may_only_read(gateway: httpx.Client, namespace: Namespace, study: Study) -> None:
    secret = namespace.core.read_namespaced_secret("synfundus-reader", NAMESPACE).data
    key, value = (base64.b64decode(secret[name]).decode() for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    reader = boto3.client(
        "s3", endpoint_url=STORE, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=value
    )
    reader.head_object(Bucket="synfundus", Key=f"demo/{study.generator_folder}/manifest.json")
    for refused in (reader.put_object, reader.delete_object):
        with pytest.raises(ClientError, match="AccessDenied"):
            refused(Bucket="synfundus", Key="demo/runs/x")


def test_a_request_without_a_key_is_refused(gateway: httpx.Client) -> None:
    assert httpx.post(f"{GATEWAY}/v1/generate", json={}, timeout=60).status_code == 401


def test_helm_test_passes_and_leaves_no_pod(
    shell: Shell, blocks: Blocks, gateway: object, namespace: Namespace
) -> None:
    output = shell.run(*blocks["test"])
    assert "Phase:          Succeeded" in output
    assert "refused without a key" in output
    assert f"pod/{RELEASE}-test" not in listing()


def test_an_upgrade_with_a_changed_value_takes_effect(shell: Shell, blocks: Blocks, gateway: httpx.Client) -> None:
    (upgrade,) = [command for command in blocks["serve"] if command.startswith("helm upgrade")]
    shell.run(f"{upgrade} --set serving.maxRowSteps=15 --set studies.demo.run=true")
    deadline_s = time.monotonic() + 600
    while True:
        try:
            response = gateway.post("/v1/generate", json={"n": 2, "steps": 10})
            if response.status_code == 422:
                break
        except (httpx.HTTPError, http.client.HTTPException):
            pass  # the old replica has ended, the new one has not started
        assert time.monotonic() < deadline_s
        time.sleep(3)
    assert "at most 15" in response.json()["detail"]
    assert gateway.post("/v1/generate", json={"n": 1, "steps": 10}).status_code == 200


def test_a_study_of_the_values_is_a_job(
    gateway: object, job: tuple[RayJob, Watch, str], namespace: Namespace, study: Study
) -> None:
    of_chart = jobs.find(namespace, study.name, SETTINGS)
    assert of_chart.name != job[0].name
    (*_, last) = jobs.follow(namespace, of_chart.name, 600)
    assert last.state == SUCCEEDED  # at once: every stage is complete


def test_uninstalling_leaves_only_the_objects_on_s3(
    shell: Shell, blocks: Blocks, gateway: object, store: Storage, before: set[str]
) -> None:
    samples = set(store.names("samples"))
    assert listing() > before
    shell.run(*blocks["remove"])
    deadline_s = time.monotonic() + 180
    while (left := listing() - before) and time.monotonic() < deadline_s:
        time.sleep(2)
    assert left == set()
    assert set(store.names("samples")) == samples
