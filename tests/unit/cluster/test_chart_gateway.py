"""The RayService of the chart: arguments that Ray Serve accepts, and a new cluster for every change of its pods."""

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from support.chart import ROOT, SERVING, STUDY, STUDY_FILE, Document, only, render_chart
from synfundus_serve.edge.install import CONTROLLER_OPTIONS
from synfundus_serve.gateway import Arguments


def serve_config(*arguments: str) -> Document:
    """Return the configuration of Ray Serve that the chart renders."""
    config: Document = yaml.safe_load(only(render_chart(*arguments), "RayService")["spec"]["serveConfigV2"])
    return config


def test_ray_serve_accepts_the_configuration_of_the_gateway() -> None:
    config = serve_config(*SERVING, "--set", "serving.maxRowSteps=7")
    assert config.keys() <= ServeDeploySchema.model_fields.keys()  # Ray Serve ignores unknown keys silently
    (rendered,) = ServeDeploySchema.model_validate(config).applications
    assert rendered.import_path == "synfundus_serve.gateway:build"
    assert [deployment.name for deployment in rendered.deployments] == ["Generation", "Diagnosis"]
    arguments = Arguments.model_validate(rendered.args)
    assert arguments.max_row_steps == 7
    assert arguments.overrides == (ROOT,)


def test_the_chart_installs_the_limits_of_the_proxies() -> None:
    assert serve_config(*SERVING)["controller_options"] == CONTROLLER_OPTIONS


def test_the_gateway_can_run_without_keys() -> None:
    config = serve_config(*STUDY, "--set", "serving.study=demo", "--set", "serving.withoutKeys=true")
    (rendered,) = ServeDeploySchema.model_validate(config).applications
    assert Arguments.model_validate(rendered.args).without_keys


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
    """KubeRay compares clusters without tolerations, sizes of pools and contents of ConfigMaps."""

    def compared(*arguments: str) -> Document:
        cluster: Document = only(render_chart(*SERVING, *arguments), "RayService")["spec"]["rayClusterConfig"]
        cluster["headGroupSpec"]["template"]["spec"].pop("tolerations", None)
        for group in cluster["workerGroupSpecs"]:
            group["template"]["spec"].pop("tolerations", None)
            del group["minReplicas"], group["maxReplicas"]
        return cluster

    assert compared() == compared()
    assert compared() != compared(*change)
