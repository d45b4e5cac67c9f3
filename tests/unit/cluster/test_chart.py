"""The chart, rendered by helm: what it refuses, and that the command makes the very jobs that it makes."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.kubernetes_api import JOBS, kubernetes_api
from synfundus.cluster.template import Template, job_of
from synfundus.distributed.session import WORKERS_MALLOC
from synfundus.study import load_study

REPOSITORY = Path(__file__).parents[3]
CHART = REPOSITORY / "helm" / "synfundus"
STUDY_FILE = REPOSITORY / "studies" / "demo-small.yaml"
ROOT = "root=s3://bucket/prefix"
HELM = shutil.which("helm") or shutil.which(str(Path.home() / ".cache" / "kube-node" / "bin" / "helm"))
KUBERAY = "ray.io/v1/RayJob,ray.io/v1/RayService"
STUDY = ["--set-file", f"studies.demo.file={STUDY_FILE}", "--set", f"studies.demo.set={{{ROOT}}}"]
SERVING = [*STUDY, "--set", "serving.study=demo", "--set", "serving.keysSecret=keys"]

pytestmark = pytest.mark.skipif(HELM is None, reason="no helm here")


def helm(*arguments: str, kuberay: str = KUBERAY, release: str = "synfundus") -> "subprocess.CompletedProcess[str]":
    command = [str(HELM), "template", release, str(CHART), "--namespace", "fundus", "--api-versions", kuberay]
    return subprocess.run([*command, *arguments], capture_output=True, text=True)


def rendered(*arguments: str) -> list[dict[str, Any]]:
    outcome = helm(*arguments)
    assert outcome.returncode == 0, outcome.stderr
    return [document for document in yaml.safe_load_all(outcome.stdout) if document]


def one(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def pod_templates(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of all pods of the Ray clusters, by kind and group."""
    found = {}
    for kind, key in (("RayJob", "rayClusterSpec"), ("RayService", "rayClusterConfig")):
        cluster = one(documents, kind)["spec"][key]
        found[f"{kind} head"] = cluster["headGroupSpec"]["template"]
        found |= {f"{kind} {group['groupName']}": group["template"] for group in cluster["workerGroupSpecs"]}
    return found


def test_the_command_makes_the_job_that_the_chart_makes() -> None:
    more = "release.data_statement=phantoms, no people"
    escaped = more.replace(",", r"\,")
    documents = rendered(*STUDY, "--set", f"studies.demo.set[1]={escaped}", "--set", "secret=synfundus")
    of_chart = one(documents, "RayJob")
    (maps,) = [d for d in documents if d["metadata"]["name"] == "synfundus-job-template"]
    template = Template(maps["metadata"]["name"], "uid", maps["data"]["spec.yaml"], maps["data"]["metadata.yaml"])
    study = load_study(STUDY_FILE, [ROOT, more])
    of_command, config_map = job_of(template, study, STUDY_FILE.read_text(), [ROOT, more])

    def without_name(job: dict[str, Any]) -> dict[str, Any]:
        """Of two ways to quote a word either is right."""
        spec: dict[str, Any] = json.loads(json.dumps(job["spec"]).replace(job["metadata"]["name"], "NAME"))
        return spec | {"entrypoint": shlex.split(spec["entrypoint"])}

    assert without_name(of_command) == without_name(of_chart)
    assert without_name(of_chart)["entrypoint"][-2:] == ["--set", more]
    for key in ("labels", "annotations"):
        assert of_command["metadata"][key] == of_chart["metadata"][key]
    assert of_chart["metadata"]["annotations"] == {"synfundus.io/root": "s3://bucket/prefix"}
    assert config_map["data"]["study.yaml"] == STUDY_FILE.read_text()
    assert of_command["metadata"]["ownerReferences"][0]["uid"] == "uid"


def test_a_jobs_name_is_a_digest_of_all_that_it_is() -> None:
    names = {
        one(rendered(*STUDY, *more), "RayJob")["metadata"]["name"]
        for more in ([], [], ["--set", "image=other"], ["--set", "pools.sampling.maxWorkers=9"])
    }
    assert len(names) == 3
    assert all(re.fullmatch(r"demo-small-[0-9a-f]{10}", name) for name in names)


@pytest.mark.parametrize("name", ["n" * 63, "n" * 32 + "-" * 3 + "n"])
def test_a_long_name_leaves_room_for_what_kuberay_appends(name: str) -> None:
    """It adds six characters for the Ray cluster, and cuts the names of its Secret and account at 50."""
    overrides = [ROOT, f"name={name}"]
    documents = rendered(*STUDY, "--set", f"studies.demo.set[1]=name={name}")
    study = load_study(STUDY_FILE, overrides)
    of_command, _ = job_of(Template("t", "uid", "{}", "{}"), study, STUDY_FILE.read_text(), overrides)
    for job in (of_command, one(documents, "RayJob")):
        assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"])
        assert len(job["metadata"]["name"]) <= 50 - len("-abcde")


def test_every_pod_is_restricted() -> None:
    pods = []
    documents = rendered(*SERVING)
    for document in documents:
        spec = document.get("spec", {})
        cluster = spec.get("rayClusterSpec") or spec.get("rayClusterConfig")
        if cluster:
            pods += [cluster["headGroupSpec"]["template"], *(g["template"] for g in cluster["workerGroupSpecs"])]
            assert cluster["autoscalerOptions"]["securityContext"]["readOnlyRootFilesystem"] is True
            assert cluster["authOptions"] == {"mode": "token"}
        pods += [spec["submitterPodTemplate"]] if "submitterPodTemplate" in spec else []
        pods += [document] if document["kind"] == "Pod" else []
    assert len(pods) == 6
    for pod in pods:
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["spec"]["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_kubernetes_token_is_seen_by_the_autoscaler_alone() -> None:
    documents = rendered(*SERVING, "--set", "serviceAccountAnnotations.role=fundus")
    accounts = {d["metadata"]["name"]: d for d in documents if d["kind"] == "ServiceAccount"}
    assert accounts.keys() == {"synfundus-head", "synfundus-worker"}
    for account in accounts.values():
        assert account["automountServiceAccountToken"] is False
        assert account["metadata"]["annotations"] == {"role": "fundus"}
    for kind, key in (("RayJob", "rayClusterSpec"), ("RayService", "rayClusterConfig")):
        cluster = one(documents, kind)["spec"][key]
        head = cluster["headGroupSpec"]["template"]["spec"]
        assert (head["serviceAccountName"], head["automountServiceAccountToken"]) == ("synfundus-head", False)
        (token,) = [volume["name"] for volume in head["volumes"] if "projected" in volume]
        (mount,) = cluster["autoscalerOptions"]["volumeMounts"]
        assert (mount["name"], mount["mountPath"]) == (token, "/var/run/secrets/kubernetes.io/serviceaccount")
        workers = [group["template"]["spec"] for group in cluster["workerGroupSpecs"]]
        for pod in (head, *workers):
            assert token not in [mount["name"] for mount in pod["containers"][0]["volumeMounts"]]
        for pod in workers:
            assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("synfundus-worker", False)
            assert not any("projected" in volume for volume in pod["volumes"])


def test_the_operator_finds_nothing_to_change() -> None:
    """What it adds to the list of groups makes it the owner of the list, and the next `helm upgrade` conflicts."""
    for kind, key in (("RayJob", "rayClusterSpec"), ("RayService", "rayClusterConfig")):
        for group in one(rendered(*SERVING), kind)["spec"][key]["workerGroupSpecs"]:
            assert group["scaleStrategy"] == {}
            assert "replicas" not in group  # the autoscaler's
    for template in pod_templates(rendered(*SERVING)).values():
        for variable in template["spec"]["containers"][0]["env"]:
            assert variable.get("value") != ""  # it would write an empty one as none


def test_gpus_selectors_and_tolerations_reach_the_pods() -> None:
    pool = ["gpus=2", "nodeSelector.kind=a100", "tolerations[0].key=gpu", "tolerations[0].operator=Exists"]
    settings = [part for setting in pool for part in ("--set", f"pools.sampling.{setting}")]
    (group,) = one(rendered(*STUDY, *settings), "RayJob")["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    pod = group["template"]["spec"]
    assert group["rayStartParams"]["num-gpus"] == "2"
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert pod["nodeSelector"] == {"kind": "a100"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert group["labels"] == {"synfundus.io/pool": "sampling"}


def test_the_gateway_is_what_ray_serve_takes() -> None:
    from ray.serve.schema import ServeDeploySchema

    from synfundus_serve.gateway import Arguments

    service = one(rendered(*SERVING, "--set", "serving.maxRowSteps=7"), "RayService")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    assert config.keys() <= ServeDeploySchema.model_fields.keys()  # it would pass over others without a word
    (application,) = ServeDeploySchema.model_validate(config).applications
    arguments = Arguments.model_validate(application.args)
    assert arguments.max_row_steps == 7
    assert arguments.overrides == (ROOT,)
    open_one = one(rendered(*STUDY, "--set", "serving.study=demo", "--set", "serving.withoutKeys=true"), "RayService")
    (application,) = ServeDeploySchema.model_validate(yaml.safe_load(open_one["spec"]["serveConfigV2"])).applications
    assert Arguments.model_validate(application.args).without_keys


def test_names_stay_names() -> None:
    """YAML would read them as numbers and booleans."""
    settings = ["pools.100.maxWorkers=1", "pools.100.minWorkers=0", "pools.100.logicalCpus=1", "pools.100.gpus=0"]
    settings += ["pools.100.idleSeconds=9", "pools.100.resources.limits.memory=1Gi"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    for name in ("secret=12", "serving.keysSecret=34", "imagePullSecrets[0]=7e3"):
        arguments += ["--set-string", name]
    outcome = helm(*SERVING, *arguments, release="true")
    documents = [document for document in yaml.safe_load_all(outcome.stdout) if document]
    for template in pod_templates(documents).values():
        assert template["metadata"]["labels"]["app.kubernetes.io/instance"] == "true"
        assert template["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "12"}}]
        assert template["spec"]["imagePullSecrets"] == [{"name": "7e3"}]
    (numbered, _) = one(documents, "RayJob")["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert (numbered["groupName"], numbered["labels"]) == ("100", {"synfundus.io/pool": "100"})


def test_what_computes_keeps_memory_as_on_one_machine() -> None:
    for template in pod_templates(rendered(*SERVING)).values():
        variables = {one["name"]: one.get("value") for one in template["spec"]["containers"][0]["env"]}
        assert variables.items() >= WORKERS_MALLOC.items()


def test_who_serves_has_not_the_key_of_patient_ids() -> None:
    for name, template in pod_templates(rendered(*SERVING, "--set", "secret=synfundus")).items():
        variables = template["spec"]["containers"][0]["env"]
        emptied = {"name": "SYNFUNDUS_PATIENT_KEY"} in variables
        assert emptied == name.startswith("RayService")


def test_the_pools_of_the_guide_are_rendered(tmp_path: Path) -> None:
    (text,) = re.findall("```yaml\n(.*?)```", (REPOSITORY / "docs" / "cluster.md").read_text(), re.DOTALL)
    values = tmp_path / "values.yaml"
    values.write_text(text)
    spec = one(rendered(*STUDY, "--values", str(values)), "RayJob")["spec"]["rayClusterSpec"]
    sampling, training = spec["workerGroupSpecs"]
    assert (sampling["groupName"], sampling["maxReplicas"]) == ("sampling", 16)
    assert training["rayStartParams"] == {"num-cpus": "8", "num-gpus": "4"}
    assert training["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 4
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "2"


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
def test_a_study_of_the_values_waits_for_its_other_job(
    tmp_path: Path, study: str, status: dict[str, str], refused: bool
) -> None:
    """Two jobs would write into one folder of runs."""
    with kubernetes_api() as api:
        metadata = {"name": "job-1", "namespace": "fundus", "labels": {"synfundus.io/study": study}}
        api.put(JOBS, {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": metadata, "status": status})
        there = ["--kubeconfig", str(api.kubeconfig(tmp_path, **{"current-context": "here"}))]
        outcome = helm(*STUDY, "--dry-run=server", "--disable-openapi-validation", *there)
    assert ("studies.demo: job job-1 of study demo-small is not over" in outcome.stderr) == refused
    assert (outcome.returncode != 0) == refused, outcome.stderr


def test_a_studys_name_and_root_are_those_of_its_settings() -> None:
    job = one(rendered(*STUDY, "--set", "studies.demo.set[1]=name=other"), "RayJob")
    assert job["metadata"]["name"].startswith("other-")
    assert job["metadata"]["labels"]["synfundus.io/study"] == "other"


@pytest.mark.parametrize(
    "change",
    [
        ["--set", "serving.pool.maxWorkers=3"],
        ["--set", "serving.pool.tolerations[0].key=gpu"],
        ["--set", "serving.head.tolerations[0].key=gpu"],
        ["--set-file", f"studies.demo.file={STUDY_FILE.with_name('fundus-real.yaml')}"],
    ],
)
def test_every_change_of_the_gateways_pods_makes_a_new_cluster(change: list[str]) -> None:
    """KubeRay makes one where a digest differs that holds no tolerations, bounds of pools or contents of ConfigMaps."""

    def digested(*arguments: str) -> dict[str, Any]:
        cluster: dict[str, Any] = one(rendered(*SERVING, *arguments), "RayService")["spec"]["rayClusterConfig"]
        cluster["headGroupSpec"]["template"]["spec"].pop("tolerations", None)
        for group in cluster["workerGroupSpecs"]:
            group["template"]["spec"].pop("tolerations", None)
            del group["minReplicas"], group["maxReplicas"]
        return cluster

    assert digested() == digested()
    assert digested() != digested(*change)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "imag=x"], "imag"),
        (["--set", "pools.sampling.maxWorkers=none"], "maxWorkers"),
        (["--set", "pools.sampling=null"], "sampling"),
        (["--set", "studies.demo.run=true"], "file"),
        ([*STUDY, "--set", "serving.study=dem", "--set", "serving.keysSecret=k"], "no study dem in studies"),
        ([*STUDY, "--set", "serving.study=demo"], "give keysSecret"),
        ([*SERVING, "--set", "serving.withoutKeys=true"], "give keysSecret"),
        ([*SERVING, "--set", "serving.replicas=2"], "serving.replicas: 2 need 5 CPUs"),
        ([*STUDY, "--set", "studies.demo.set[1]=name=2024-study"], "cannot name a job"),
        ([*STUDY, "--set", "studies.demo.set[1]=name=demo-"], "cannot name a job"),
        (["--set", "studies.demo.file=name: demo"], "is not on S3"),
        (["--set", "studies.demo.file=a: [", "--set", f"studies.demo.set={{{ROOT}}}"], "not valid YAML"),
        (["--set", "studies.demo.file=recipe: x", "--set", f"studies.demo.set={{{ROOT}}}"], "cannot name a job"),
        (["--set", "pools.sampling.minWorkers=9"], "pool sampling: minWorkers 9 is more than maxWorkers 4"),
        (["--set", "pools.sampling.resources.limits=null"], "limits"),
        (["--set", "head.resources.limits.memory=null"], "memory"),
        (["--set", "s3=null"], "s3"),
        (["--set", "serving.head=null"], "head"),
    ],
)
def test_a_wrong_value_is_refused(arguments: list[str], told: str) -> None:
    outcome = helm(*arguments)
    assert outcome.returncode != 0
    assert told in outcome.stderr


@pytest.mark.parametrize("release", ["2024", "a.b", "a" * 37])
def test_a_release_that_kuberay_would_refuse_is_refused(release: str) -> None:
    outcome = helm(release=release)
    assert outcome.returncode != 0
    assert "KubeRay needs a name" in outcome.stderr


def test_the_absence_of_the_operator_is_said() -> None:
    outcome = helm(kuberay="batch/v1/Job")
    assert outcome.returncode != 0
    assert "install the KubeRay operator (1.6 or later) first" in outcome.stderr


def test_every_value_is_documented_where_it_stands() -> None:
    """A comment stands over the key, there or where it occurs first; two that belong together may share one."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    keys = [re.match(r" *([a-zA-Z]+):", line) for line in lines]
    documented = {key[1] for key, above in zip(keys[1:], lines, strict=False) if key and above.strip().startswith("#")}
    together = {"tolerations", "maxWorkers", "requests", "limits", "imagePullSecrets", "pool", "head", "sampling"}
    assert {key[1] for key in keys if key} - documented - together == set()


def test_versions_are_one() -> None:
    from synfundus import __version__

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    locked = re.search(r"^ray\[.*\]==(\S+)|^ray==(\S+)", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE)
    assert locked is not None
    assert chart["annotations"]["synfundus.io/ray-version"] == (locked[1] or locked[2])
    assert chart["version"] == chart["appVersion"] == __version__
    assert yaml.safe_load((CHART / "values.yaml").read_text())["image"].endswith(f":{__version__}")
