"""The RayJob of a study, from the template that the chart left in the namespace."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from synfundus.cluster.kube import GROUP, VERSION, Namespace
from synfundus.digests import canonical_json, sha256_hex
from synfundus.environment import Environment
from synfundus.errors import WrongInputError
from synfundus.study import FILE_KEYS, REAL_DATA_VARIABLE, Study

SELECTOR = "synfundus.io/role=job-template"
MAX_NAME = 44
"""Of a RayJob; KubeRay appends six characters for its cluster, and cuts names of what belongs to that at 50."""
DIGEST_DIGITS = 10
NAME_OF_OBJECT = re.compile("[a-z]([-a-z0-9]*[a-z0-9])?")
"""What Kubernetes takes for a Service, which KubeRay makes for each job."""
SETTINGS_DIGITS = 32


@dataclass(frozen=True)
class Template:
    """What the chart left: specification and metadata with marks for name, ConfigMap, overrides and root of a study."""

    name: str
    """Of the ConfigMap that holds it."""
    uid: str
    """Of that ConfigMap: it owns the jobs, so that they go with the release."""
    spec: str
    """YAML."""
    metadata: str
    """YAML: labels and annotations."""


def find_template(namespace: Namespace, release: str | None = None) -> Template:
    """The template of the one release of the chart in a namespace, or of the named one.

    Raises:
        WrongInputError: there is none, or there are several and none is named.
    """
    found = namespace.config_maps(SELECTOR)
    names = [item.metadata.name.removesuffix("-job-template") for item in found]
    chosen = [item for item, name in zip(found, names, strict=True) if release in (None, name)]
    if not chosen:
        which = f"release {release} of the chart" if release else "release of the chart"
        raise WrongInputError(
            f"namespace {namespace.name} has no {which}; `helm install synfundus helm/synfundus --namespace"
            f" {namespace.name}` makes one, or name another --namespace"
        )
    if len(chosen) > 1:
        raise WrongInputError(f"namespace {namespace.name} has releases {', '.join(names)}; name one by --release")
    (item,) = chosen
    return Template(item.metadata.name, item.metadata.uid, item.data["spec.yaml"], item.data["metadata.yaml"])


def settings_of(text: str, overrides: Sequence[str]) -> str:
    """Digest of a study's file and overrides: what tells its job from those of others. The chart makes the same."""
    return sha256_hex("\n".join([text, *overrides]).encode())[:SETTINGS_DIGITS]


def require_reachable(study: Study, text: str) -> None:
    """Refuse what pods cannot see.

    Args:
        text: of the study's file and overrides.

    Raises:
        WrongInputError: the root, a source or another file lies on this machine.
    """
    if not study.root.startswith("s3://"):
        raise WrongInputError(f"root: {study.root} is on this machine; pods need --set root=s3://BUCKET/PREFIX")
    real = Environment().real_data if REAL_DATA_VARIABLE in text else None
    for number, source in enumerate(study.data.sources):
        path, key = getattr(source, "path", None), f"data.sources.{number}.path"
        if path is not None and "://" not in str(path):
            raise WrongInputError(
                f"{key}: {path} is on this machine; put the photographs on S3, or prepare them here onto the root and"
                " name that dataset as data.prepared"
            )
        if path is not None and real and str(path).startswith(real):
            raise WrongInputError(f"{key} uses {REAL_DATA_VARIABLE}, which pods do not have; write the path out")
    for section, key in FILE_KEYS:
        path = getattr(getattr(study, section), key, None)
        if path is not None:
            raise WrongInputError(
                f"{section}.{key}: {path} is on this machine; run that stage here onto the root, or leave it out"
            )


def _filled(value: Any, marks: dict[str, str]) -> Any:
    """`value` with the marks in its strings replaced."""
    if isinstance(value, dict):
        return {key: _filled(inner, marks) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, marks) for inner in value]
    if isinstance(value, str):
        for mark, text in marks.items():
            value = value.replace(mark, text)
    return value


def job_of(
    template: Template, study: Study, text: str, overrides: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The RayJob of a study whose file reads `text`, and the ConfigMap with that file, which the job is yet to own.

    The job's name ends in a digest of all that it is, so that submitting twice is one job.

    Raises:
        WrongInputError: no object of Kubernetes can have the study's name.
    """
    if not NAME_OF_OBJECT.fullmatch(study.name):
        raise WrongInputError(
            f"name: {study.name} cannot name a job; on a cluster, begin with a letter and do not end with a hyphen"
        )
    words = "".join(f" --set {shlex.quote(override)}" for override in overrides)
    marks = {
        "@STUDY@": study.name,
        "@OVERRIDES@": words,
        "@SETTINGS@": settings_of(text, overrides),
        "@ROOT@": study.root,
    }
    spec, metadata = (_filled(yaml.safe_load(part), marks) for part in (template.spec, template.metadata))
    digest = sha256_hex(canonical_json({"study": text, "spec": spec}))[:DIGEST_DIGITS]
    name = f"{study.name[: MAX_NAME - DIGEST_DIGITS - 1].rstrip('-')}-{digest}"
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": template.name, "uid": template.uid}
    job = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "RayJob",
        "metadata": {"name": name, **metadata, "ownerReferences": [owner]},
        "spec": _filled(spec, {"@CONFIGMAP@": name}),
    }
    config_map = {"metadata": {"name": name, **metadata}, "data": {"study.yaml": text}}
    return job, config_map
