"""Pods of the chart: security, tokens, environment, pools and GPUs."""

import re
from pathlib import Path

import yaml

from support.chart import CLUSTERS, REPOSITORY, SERVING, STUDY, helm, only, pod_templates, render_chart
from synfundus.distributed.session import WORKERS_MALLOC
from synfundus.study import resolve


def test_every_pod_passes_pod_security_restricted() -> None:
    pods = []
    for document in render_chart(*SERVING):
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


def test_only_the_autoscaler_has_a_kubernetes_token() -> None:
    documents = render_chart(*SERVING, "--set", "serviceAccountAnnotations.role=fundus")
    accounts = {d["metadata"]["name"]: d for d in documents if d["kind"] == "ServiceAccount"}
    assert accounts.keys() == {"synfundus-head", "synfundus-worker"}
    for account in accounts.values():
        assert account["automountServiceAccountToken"] is False
        assert account["metadata"]["annotations"] == {"role": "fundus"}
    for kind, key in CLUSTERS:
        cluster = only(documents, kind)["spec"][key]
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
    for name in ("secret=12", "serving.keysSecret=34", "imagePullSecrets[0]=7e3"):
        arguments += ["--set-string", name]
    documents = render_chart(*SERVING, *arguments, release="true")
    for template in pod_templates(documents).values():
        assert template["metadata"]["labels"]["app.kubernetes.io/instance"] == "true"
        assert template["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "12"}}]
        assert template["spec"]["imagePullSecrets"] == [{"name": "7e3"}]
    (numbered, _) = only(documents, "RayJob")["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert (numbered["groupName"], numbered["labels"]) == ("100", {"synfundus.io/pool": "100"})


def test_every_pod_has_the_malloc_settings_of_local_workers() -> None:
    for template in pod_templates(render_chart(*SERVING)).values():
        variables = {one["name"]: one.get("value") for one in template["spec"]["containers"][0]["env"]}
        assert variables.items() >= WORKERS_MALLOC.items()


def test_pods_that_serve_do_not_get_the_key_of_patient_ids() -> None:
    for name, template in pod_templates(render_chart(*SERVING, "--set", "secret=synfundus")).items():
        variables = template["spec"]["containers"][0]["env"]
        is_emptied = {"name": "SYNFUNDUS_PATIENT_KEY"} in variables
        assert is_emptied == name.startswith("RayService")


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
