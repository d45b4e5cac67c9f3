"""The chart as tests render it, by helm."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "helm" / "synfundus"
STUDY_FILE = REPOSITORY / "studies" / "demo-small.yaml"
ROOT = "root=s3://bucket/prefix"
KUBERAY = "ray.io/v1/RayJob,ray.io/v1/RayService"
STUDY = ["--set-file", f"studies.demo.file={STUDY_FILE}", "--set", f"studies.demo.set={{{ROOT}}}"]
"""Arguments of helm that add one study."""
SERVING = [*STUDY, "--set", "serving.study=demo", "--set", "serving.keysSecret=keys"]
"""Arguments of helm that serve the models of this study."""
CLUSTERS = (("RayJob", "rayClusterSpec"), ("RayService", "rayClusterConfig"))
"""Kind of each object with a Ray cluster, and the key of the cluster in its specification."""

Document = dict[str, Any]


def helm_path() -> str:
    """Return the path of helm. Without helm the calling test skips; with CI=true it fails."""
    tools = Path(os.environ.get("KUBE_NODE_HOME", Path.home() / ".cache" / "kube-node")) / "bin"
    path = shutil.which("helm") or shutil.which(str(tools / "helm"))
    if path is None:
        message = "helm is not installed (https://helm.sh/docs/intro/install), so the chart is not tested"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


def helm(*arguments: str, kuberay: str = KUBERAY, release: str = "synfundus") -> "subprocess.CompletedProcess[str]":
    """Run `helm template` as on a cluster that has the kinds `kuberay`."""
    command = [helm_path(), "template", release, str(CHART), "--namespace", "fundus", "--api-versions", kuberay]
    return subprocess.run([*command, *arguments], capture_output=True, text=True)


def render_chart(*arguments: str, release: str = "synfundus") -> list[Document]:
    """Return the objects that the chart renders."""
    outcome = helm(*arguments, release=release)
    assert outcome.returncode == 0, outcome.stderr
    return [document for document in yaml.safe_load_all(outcome.stdout) if document]


def only(documents: list[Document], kind: str) -> Document:
    """Return the only object of a kind."""
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def pod_templates(documents: list[Document]) -> dict[str, Document]:
    """Return the template of every pod of the Ray clusters, by kind and group."""
    found = {}
    for kind, key in CLUSTERS:
        cluster = only(documents, kind)["spec"][key]
        found[f"{kind} head"] = cluster["headGroupSpec"]["template"]
        found |= {f"{kind} {group['groupName']}": group["template"] for group in cluster["workerGroupSpecs"]}
    return found
