"""The RayJob of a study, from the template that the chart stores in the namespace."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml
from pydantic import JsonValue, TypeAdapter

from synfundus.cluster.kube import GROUP, VERSION, JsonObject, Namespace
from synfundus.digests import canonical_json, sha256_hex
from synfundus.errors import WrongInputError
from synfundus.study import Study

SELECTOR = "synfundus.io/role=job-template"
MAX_NAME = 44
"""Longest name of a RayJob. KubeRay appends six characters for its cluster, and cuts names derived from that at 50."""
DIGEST_DIGITS = 10
NAME_OF_OBJECT = re.compile("[a-z]([-a-z0-9]*[a-z0-9])?")
"""Names that a Kubernetes Service may have; KubeRay creates one for each job."""
SETTINGS_DIGITS = 32
_JSON_OBJECT: TypeAdapter[JsonObject] = TypeAdapter(JsonObject)


@dataclass(frozen=True)
class Template:
    """The chart's template of RayJobs: `@MARKS@` stand for name, ConfigMap, overrides and root of a study."""

    name: str
    """Name of the ConfigMap that holds the template."""
    uid: str
    """UID of that ConfigMap. It owns the jobs, so that uninstalling the release deletes them."""
    spec: str
    """Specification of the RayJob, as YAML."""
    metadata: str
    """Labels and annotations of the RayJob, as YAML."""


@dataclass(frozen=True)
class StudyJob:
    """A RayJob to create, and the study file that its pods read from a ConfigMap."""

    name: str
    """Name of both objects. It ends in a digest of everything that the job is, so that submitting twice is one job."""
    body: JsonObject
    """The RayJob."""
    spec: JsonObject
    """Specification of the RayJob."""
    metadata: JsonObject
    """Labels and annotations of both objects."""
    study_file: str
    """Content of the study file."""

    def config_map(self, uid: str) -> JsonObject:
        """Return the ConfigMap with the study file, owned by the created RayJob `uid`."""
        owner: JsonObject = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "RayJob", "name": self.name, "uid": uid}
        metadata: JsonObject = {"name": self.name, **self.metadata, "ownerReferences": [owner]}
        return {"metadata": metadata, "data": {"study.yaml": self.study_file}}


def find_template(namespace: Namespace, release: str | None = None) -> Template:
    """Return the template of the only release of the chart in a namespace, or of the named release.

    Raises:
        WrongInputError: there is no such release, or there are several and none is named.
    """
    found = namespace.config_maps(SELECTOR)
    names = [item.metadata.name.removesuffix("-job-template") for item in found]
    chosen = [item for item, name in zip(found, names, strict=True) if release in (None, name)]
    if not chosen:
        which = f"release {release} of the chart" if release else "release of the chart"
        raise WrongInputError(
            f"namespace {namespace.name} has no {which}; `helm install synfundus helm/synfundus --namespace"
            f" {namespace.name}` creates one, or name another --namespace"
        )
    if len(chosen) > 1:
        raise WrongInputError(f"namespace {namespace.name} has releases {', '.join(names)}; name one with --release")
    (item,) = chosen
    return Template(item.metadata.name, item.metadata.uid, item.data["spec.yaml"], item.data["metadata.yaml"])


def settings_digest(text: str, overrides: Sequence[str]) -> str:
    """Return the digest of a study's file and overrides, by which its job is found. The chart computes the same."""
    return sha256_hex("\n".join([text, *overrides]).encode())[:SETTINGS_DIGITS]


def _fill(value: JsonValue, marks: Mapping[str, str]) -> JsonValue:
    """Return `value` with the marks in its strings replaced."""
    if isinstance(value, dict):
        return {key: _fill(inner, marks) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, marks) for inner in value]
    if isinstance(value, str):
        for mark, text in marks.items():
            value = value.replace(mark, text)
    return value


def _parse(part: str, marks: Mapping[str, str]) -> JsonObject:
    """Return one part of the template, YAML, with its marks replaced."""
    return _JSON_OBJECT.validate_python(_fill(yaml.safe_load(part), marks))


def job_of(template: Template, study: Study, text: str, overrides: Sequence[str]) -> StudyJob:
    """Return the RayJob of a study whose file has the content `text`.

    Raises:
        WrongInputError: the study's name cannot be the name of a Kubernetes object.
    """
    if not NAME_OF_OBJECT.fullmatch(study.name):
        raise WrongInputError(
            f"name: {study.name} cannot name a job; on a cluster, begin with a letter and do not end with a hyphen"
        )
    marks = {
        "@STUDY@": study.name,
        "@OVERRIDES@": "".join(f" --set {shlex.quote(override)}" for override in overrides),
        "@SETTINGS@": settings_digest(text, overrides),
        "@ROOT@": study.root,
    }
    spec, metadata = (_parse(part, marks) for part in (template.spec, template.metadata))
    digest = sha256_hex(canonical_json({"study": text, "spec": spec}))[:DIGEST_DIGITS]
    name = f"{study.name[: MAX_NAME - DIGEST_DIGITS - 1].rstrip('-')}-{digest}"
    owner: JsonObject = {"apiVersion": "v1", "kind": "ConfigMap", "name": template.name, "uid": template.uid}
    own_metadata: JsonObject = {"name": name, **metadata, "ownerReferences": [owner]}
    own_spec = {key: _fill(value, {"@CONFIGMAP@": name}) for key, value in spec.items()}
    body: JsonObject = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "RayJob",
        "metadata": own_metadata,
        "spec": own_spec,
    }
    return StudyJob(name, body, own_spec, metadata, text)
