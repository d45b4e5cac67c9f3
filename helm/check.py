"""Lint the chart, and validate what it renders against KubeRay's schemas. A tool that is not installed is named.

The schemas of KubeRay contain those of pods. Kinds without a schema on this machine, such as ConfigMap, are skipped.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[1]
CHART = REPOSITORY / "helm" / "synfundus"
TOOLS = Path(os.environ.get("KUBE_NODE_HOME", Path.home() / ".cache" / "kube-node"))
"""Folder with `bin/` and `crds/` of a local test cluster; tools on PATH come first."""
CRDS = TOOLS / "crds" / "kuberay"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The fast loader, because KubeRay's schemas have 40,000 lines."""
STUDY = [
    "--set-file",
    f"studies.demo.file={REPOSITORY}/studies/demo-small.yaml",
    "--set",
    "studies.demo.set={root=s3://bucket/prefix}",
]
VARIANTS = {
    "default values": STUDY,
    "small values with endpoints": [
        *STUDY,
        *("--values", f"{REPOSITORY}/infra/kubernetes/small-values.yaml", "--set", "s3.ca.configMap=authority"),
        *("--set", "serving.study=demo", "--set", "serving.keysSecret=keys"),
    ],
}
"""Name -> arguments of `helm template`."""


def find(tool: str) -> str | None:
    """Return the path of a tool, or None if it is not installed."""
    return shutil.which(tool) or shutil.which(str(TOOLS / "bin" / tool))


def strict(schema: object) -> object:
    """Return a schema that also refuses unknown properties, as the API server does."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if "properties" in closed and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    return closed


def write_schemas(folder: Path) -> None:
    """Write the JSON schemas of RayJob and RayService to `folder`."""
    for kind in ("rayjob", "rayservice"):
        text = (CRDS / f"ray.io_{kind}s.yaml").read_text(encoding="utf-8")
        versions = yaml.load(text, LOADER)["spec"]["versions"]  # noqa: S506  a safe loader
        schema = next(version["schema"]["openAPIV3Schema"] for version in versions if version["name"] == "v1")
        (folder / f"{kind}.json").write_text(json.dumps(strict(schema)), encoding="utf-8")


def render(helm: str, arguments: list[str]) -> str:
    """Return the objects that the chart renders, as YAML."""
    kinds = ["--api-versions", "ray.io/v1/RayJob,ray.io/v1/RayService"]
    command = [helm, "template", "synfundus", str(CHART), *kinds, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def validate(kubeconform: str, helm: str) -> None:
    """Run kubeconform on every variant."""
    with tempfile.TemporaryDirectory() as folder:
        write_schemas(Path(folder))
        location = f"{folder}/{{{{ .ResourceKind }}}}.json"
        command = [kubeconform, "-strict", "-summary", "-ignore-missing-schemas", "-schema-location", location]
        for name, arguments in VARIANTS.items():
            print(f"kubeconform, {name}: ", end="", flush=True)
            subprocess.run(command, input=render(helm, arguments), text=True, check=True)


def main() -> int:
    helm, kubeconform = find("helm"), find("kubeconform")
    if helm is None:
        print("chart: not checked, because helm is not installed (https://helm.sh/docs/intro/install)")
        return 0
    try:
        subprocess.run([helm, "lint", "--strict", "--quiet", str(CHART)], capture_output=True, text=True, check=True)
        if kubeconform is None or not CRDS.is_dir():
            print(f"chart: linted, but not validated: that needs kubeconform, and KubeRay's CRDs in {CRDS}")
        else:
            validate(kubeconform, helm)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"chart: {' '.join(map(str, error.cmd[:2]))} failed\n{error.stdout or ''}{error.stderr or ''}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
