"""Pods of the chart: security, tokens, environment, pools and GPUs."""

import base64
import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from support.chart import CLUSTERS, REPOSITORY, SERVING, STUDY, Document, helm, only, pod_templates, render_chart
from synfundus.distributed.session import WORKERS_MALLOC
from synfundus.study import resolve
from synfundus_serve.edge import draining


def test_every_pod_passes_pod_security_restricted() -> None:
    pods = []
    for document in render_chart(*SERVING):
        spec = document.get("spec", {})
        cluster = spec.get("rayClusterSpec") or spec.get("rayClusterConfig")
        if cluster:
            pods += [cluster["headGroupSpec"]["template"], *(g["template"] for g in cluster["workerGroupSpecs"])]
            assert cluster["autoscalerOptions"]["securityContext"]["readOnlyRootFilesystem"] is True
            assert cluster["authOptions"]["mode"] == "token"
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


def test_only_the_autoscaler_has_a_kubernetes_token() -> None:
    documents = render_chart(*SERVING)
    accounts = {d["metadata"]["name"]: d for d in documents if d["kind"] == "ServiceAccount"}
    names = {"RayJob": "synfundus", "RayService": "synfundus-serving"}
    assert accounts.keys() == {f"{start}-{kind}" for start in names.values() for kind in ("head", "worker")}
    for account in accounts.values():
        assert account["automountServiceAccountToken"] is False
    for kind, key in CLUSTERS:
        cluster = only(documents, kind)["spec"][key]
        head = cluster["headGroupSpec"]["template"]["spec"]
        assert (head["serviceAccountName"], head["automountServiceAccountToken"]) == (f"{names[kind]}-head", False)
        (token,) = [volume["name"] for volume in head["volumes"] if "projected" in volume]
        (mount,) = cluster["autoscalerOptions"]["volumeMounts"]
        assert (mount["name"], mount["mountPath"]) == (token, "/var/run/secrets/kubernetes.io/serviceaccount")
        workers = [group["template"]["spec"] for group in cluster["workerGroupSpecs"]]
        for pod in (head, *workers):
            assert token not in [mount["name"] for mount in pod["containers"][0]["volumeMounts"]]
        for pod in workers:
            assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == (f"{names[kind]}-worker", False)
            assert not any("projected" in volume for volume in pod["volumes"])


def test_the_operator_changes_nothing_that_the_chart_owns() -> None:
    """A change of the list of groups makes the operator its owner, and the next `helm upgrade` conflicts."""
    documents = render_chart(*SERVING)
    for kind, key in CLUSTERS:
        for group in only(documents, kind)["spec"][key]["workerGroupSpecs"]:
            assert group["scaleStrategy"] == {}
            assert "replicas" not in group  # the autoscaler's field
    for template in pod_templates(documents).values():
        for variable in template["spec"]["containers"][0]["env"]:
            assert variable.get("value") != ""  # the operator removes an empty value


def test_gpus_node_selectors_and_tolerations_reach_the_pods() -> None:
    pool = ["gpus=2", "nodeSelector.kind=a100", "tolerations[0].key=gpu", "tolerations[0].operator=Exists"]
    arguments = [argument for value in pool for argument in ("--set", f"pools.sampling.{value}")]
    (group,) = only(render_chart(*STUDY, *arguments), "RayJob")["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    pod = group["template"]["spec"]
    assert group["rayStartParams"]["num-gpus"] == "2"
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert pod["nodeSelector"] == {"kind": "a100"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert group["labels"] == {"synfundus.io/pool": "sampling"}


def test_names_that_look_like_numbers_or_booleans_stay_strings() -> None:
    values = ["maxWorkers=1", "minWorkers=0", "logicalCpus=1", "gpus=0", "idleSeconds=9", "resources.limits.memory=1Gi"]
    arguments = [argument for value in values for argument in ("--set", f"pools.100.{value}")]
    for name in ("s3.secret=12", "serving.s3Secret=13", "serving.keysSecret=34", "imagePullSecrets[0]=7e3"):
        arguments += ["--set-string", name]
    documents = render_chart(*SERVING, *arguments, release="true")
    for name, template in pod_templates(documents).items():
        assert template["metadata"]["labels"]["app.kubernetes.io/instance"] == "true"
        assert secrets_of(template) >= {"13" if name.startswith("RayService") else "12"}
        assert template["spec"]["imagePullSecrets"] == [{"name": "7e3"}]
    (numbered, _) = only(documents, "RayJob")["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert (numbered["groupName"], numbered["labels"]) == ("100", {"synfundus.io/pool": "100"})


def test_every_pod_has_the_malloc_settings_of_local_workers() -> None:
    for template in pod_templates(render_chart(*SERVING)).values():
        variables = {one["name"]: one.get("value") for one in template["spec"]["containers"][0]["env"]}
        assert variables.items() >= WORKERS_MALLOC.items()


def secrets_of(template: Document) -> set[str]:
    """Return the names of the Secrets that a pod mounts or takes environment variables from."""
    (container,) = template["spec"]["containers"]
    assert "envFrom" not in container  # entries that nobody listed would reach the pod
    sources = [variable.get("valueFrom", {}).get("secretKeyRef", {}) for variable in container["env"]]
    mounted = [volume["secret"]["secretName"] for volume in template["spec"]["volumes"] if "secret" in volume]
    return {source["name"] for source in sources if source} | set(mounted)


def test_each_pod_gets_only_the_secrets_that_it_needs() -> None:
    """The key of patient ids reaches the head of a job as a file, and no environment of a process."""
    values = ["s3.secret=write", "patientKeySecret=patients", "serving.s3Secret=read"]
    documents = render_chart(*SERVING, *(word for value in values for word in ("--set", value)))
    templates = pod_templates(documents)
    assert {name: secrets_of(template) for name, template in templates.items()} == {
        "RayJob head": {"write", "patients"},
        "RayJob sampling": {"write"},
        "RayService head": {"read", "keys"},
        "RayService serving": {"read", "keys"},
    }
    for name, template in templates.items():
        variables = {one["name"]: one for one in template["spec"]["containers"][0]["env"]}
        assert "SYNFUNDUS_PATIENT_KEY" not in variables
        assert ("SYNFUNDUS_PATIENT_KEY_FILE" in variables) == (name == "RayJob head")
    volumes = templates["RayJob head"]["spec"]["volumes"]
    (patients,) = [one["secret"] for one in volumes if one["name"] == "patient-key"]
    assert patients["defaultMode"] == 0o440
    submitter = only(documents, "RayJob")["spec"]["submitterPodTemplate"]
    assert secrets_of(submitter) == set()


def test_pods_that_serve_have_accounts_of_their_own() -> None:
    """A cloud role of the jobs may write to the store; annotations of an account assign it."""
    roles = ["serviceAccountAnnotations.role=write", "serving.serviceAccountAnnotations.role=read"]
    documents = render_chart(*SERVING, *(word for role in roles for word in ("--set", role)))
    accounts = {d["metadata"]["name"]: d["metadata"]["annotations"] for d in documents if d["kind"] == "ServiceAccount"}
    for name, template in pod_templates(documents).items():
        expected = "read" if name.startswith("RayService") else "write"
        assert accounts[template["spec"]["serviceAccountName"]] == {"role": expected}


def test_every_pod_refuses_to_start_ray_without_a_token() -> None:
    documents = render_chart(*SERVING)
    templates = pod_templates(documents) | {"submitter": only(documents, "RayJob")["spec"]["submitterPodTemplate"]}
    for template in templates.values():
        assert {"name": "RAY_AUTH_MODE", "value": "token"} in template["spec"]["containers"][0]["env"]


def test_the_token_of_the_jobs_lies_in_a_secret_of_a_known_name() -> None:
    documents = render_chart(*SERVING)
    secret = only(documents, "Secret")
    assert secret["metadata"]["name"] == "synfundus-ray-token"
    assert len(base64.b64decode(secret["data"]["auth_token"])) == 64
    of_jobs = only(documents, "RayJob")["spec"]["rayClusterSpec"]["authOptions"]
    assert of_jobs == {"mode": "token", "secretName": "synfundus-ray-token"}
    of_endpoints = only(documents, "RayService")["spec"]["rayClusterConfig"]["authOptions"]
    assert of_endpoints == {"mode": "token"}  # the operator makes one, which users cannot read


@pytest.mark.parametrize("kind", ["configMap", "secret"])
def test_a_private_authority_is_mounted_into_every_pod_that_reads_the_store(kind: str) -> None:
    documents = render_chart(*SERVING, "--set", f"s3.ca.{kind}=authority", "--set", "s3.ca.key=our.pem")
    for template in pod_templates(documents).values():
        (container,) = template["spec"]["containers"]
        (volume,) = [one for one in template["spec"]["volumes"] if one["name"] == "authority"]
        source = volume[kind]
        assert (source.get("name") or source.get("secretName")) == "authority"
        (item,) = source["items"]
        (mount,) = [one for one in container["volumeMounts"] if one["name"] == "authority"]
        file = f"{mount['mountPath']}/{item['path']}"
        assert (item["key"], mount["readOnly"]) == ("our.pem", True)
        assert {"name": "SYNFUNDUS_S3_CA_FILE", "value": file} in container["env"]


def test_pods_that_serve_wait_for_their_last_requests() -> None:
    """The hook waits at most as long as `synfundus serve`, and ends before Kubernetes kills the container."""
    for name, template in pod_templates(render_chart(*SERVING)).items():
        (container,) = template["spec"]["containers"]
        if name.startswith("RayService"):
            command = container["lifecycle"]["preStop"]["exec"]["command"]
            assert command[:2] == ["python", "-m"]
            assert importlib.util.find_spec(command[2]) is draining.__spec__
            assert template["spec"]["terminationGracePeriodSeconds"] > draining.SETTLE_S + draining.DRAIN_S + 20
        else:
            assert "lifecycle" not in container
            assert template["spec"]["terminationGracePeriodSeconds"] == 2


def test_the_pools_in_the_guide_can_be_rendered(tmp_path: Path) -> None:
    (text,) = re.findall("```yaml\n(head:.*?)```", (REPOSITORY / "docs" / "cluster.md").read_text(), re.DOTALL)
    values = tmp_path / "values.yaml"
    values.write_text(text)
    spec = only(render_chart(*STUDY, "--values", str(values)), "RayJob")["spec"]["rayClusterSpec"]
    sampling, training = spec["workerGroupSpecs"]
    assert (sampling["groupName"], sampling["maxReplicas"]) == ("sampling", 16)
    assert training["rayStartParams"] == {"num-cpus": "8", "num-gpus": "4"}
    assert training["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 4
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "2"


def test_the_resources_in_the_guide_are_settings_of_a_study(tmp_path: Path) -> None:
    (text,) = re.findall("```yaml\n(annotator:.*?)```", (REPOSITORY / "docs" / "cluster.md").read_text(), re.DOTALL)
    study = resolve(f"recipe: phantom-cpu\nname: demo\nroot: s3://bucket/prefix\n{text}", "study", tmp_path)
    assert study.samples.resources.pool_size == 16
    assert study.generator.resources.num_workers == 4


def test_the_values_for_a_small_machine_can_be_rendered() -> None:
    small = REPOSITORY / "infra" / "kubernetes" / "small-values.yaml"
    assert helm(*SERVING, "--values", str(small)).returncode == 0
    assert yaml.safe_load(small.read_text())["pools"].keys() == {"sampling"}
