"""A namespace of a Kubernetes cluster: the client, and its errors as one line."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import urllib3
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

from synfundus.environment import Environment
from synfundus.errors import SynfundusError, WrongInputError

GROUP, VERSION, PLURAL = "ray.io", "v1", "rayjobs"
STUDY_LABEL, SETTINGS_LABEL, ROOT_ANNOTATION = "synfundus.io/study", "synfundus.io/settings", "synfundus.io/root"
"""Of a RayJob: name, digest of file and overrides, and root of its study; the chart's template sets them."""
TIMEOUT_S = 30
NOT_FOUND, CONFLICT = 404, 409
USERS_FAULT = (400, 401, 403, 404, 422)


@contextmanager
def one_line_errors(what: str) -> Iterator[None]:
    """Errors of the API server and of the way to it.

    Raises:
        WrongInputError: what the user can mend: rights, names, credentials.
        SynfundusError: a server that does not answer.
    """
    try:
        yield
    except ApiException as error:
        message = _message(error)
        kind = WrongInputError if error.status in USERS_FAULT else SynfundusError
        raise kind(f"{what}: the cluster says {error.status} ({message})") from error
    except urllib3.exceptions.HTTPError as error:
        raise SynfundusError(f"{what}: the cluster does not answer ({' '.join(str(error).split())[:200]})") from error


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


@dataclass(frozen=True)
class Namespace:
    """Where jobs run; `connect` makes one."""

    name: str

    @cached_property
    def core(self) -> Any:
        return client.CoreV1Api()

    @cached_property
    def custom(self) -> Any:
        return client.CustomObjectsApi()

    def jobs(self) -> list[dict[str, Any]]:
        """All RayJobs that have a study."""
        with one_line_errors("cannot list jobs"):
            try:
                found = self.custom.list_namespaced_custom_object(
                    GROUP, VERSION, self.name, PLURAL, label_selector=STUDY_LABEL, _request_timeout=TIMEOUT_S
                )
            except ApiException as error:
                if error.status == NOT_FOUND:  # not of a namespace: a list in one that is not there is empty
                    raise WrongInputError("the cluster knows no RayJobs; install the KubeRay operator first") from error
                raise
        return sorted(found["items"], key=lambda job: job["metadata"]["creationTimestamp"])

    def job(self, name: str) -> dict[str, Any] | None:
        """A RayJob; None: there is none."""
        with one_line_errors(f"cannot read job {name}"):
            try:
                found: dict[str, Any] = self.custom.get_namespaced_custom_object(
                    GROUP, VERSION, self.name, PLURAL, name, _request_timeout=TIMEOUT_S
                )
            except ApiException as error:
                if error.status == NOT_FOUND:
                    return None
                raise
        return found

    def create_job(self, job: dict[str, Any]) -> dict[str, Any] | None:
        """The new job; None: somebody else was first."""
        with one_line_errors(f"cannot create job {job['metadata']['name']}"):
            try:
                made: dict[str, Any] = self.custom.create_namespaced_custom_object(
                    GROUP, VERSION, self.name, PLURAL, job, _request_timeout=TIMEOUT_S
                )
            except ApiException as error:
                if error.status == CONFLICT:
                    return None
                raise
        return made

    def delete_job(self, name: str, uid: str) -> None:
        """Delete it, if this very one is still there."""
        with one_line_errors(f"cannot delete job {name}"):
            try:
                self.custom.delete_namespaced_custom_object(
                    GROUP,
                    VERSION,
                    self.name,
                    PLURAL,
                    name,
                    body={"propagationPolicy": "Foreground", "preconditions": {"uid": uid}},
                    _request_timeout=TIMEOUT_S,
                )
            except ApiException as error:
                if error.status not in (NOT_FOUND, CONFLICT):
                    raise

    def config_maps(self, selector: str) -> list[Any]:
        with one_line_errors("cannot list ConfigMaps"):
            return list(
                self.core.list_namespaced_config_map(
                    self.name, label_selector=selector, _request_timeout=TIMEOUT_S
                ).items
            )

    def ensure_config_map(self, body: dict[str, Any]) -> None:
        """Create it, unless it is there; one that an owner before left is taken over, or it would go with that one."""
        name, (owner,) = body["metadata"]["name"], body["metadata"]["ownerReferences"]
        with one_line_errors(f"cannot create ConfigMap {name}"):
            try:
                self.core.create_namespaced_config_map(self.name, body, _request_timeout=TIMEOUT_S)
            except ApiException as error:
                if error.status != CONFLICT:
                    raise
                there = self.core.read_namespaced_config_map(name, self.name, _request_timeout=TIMEOUT_S)
                if [one.uid for one in there.metadata.owner_references or ()] != [owner["uid"]]:
                    self.core.replace_namespaced_config_map(name, self.name, body, _request_timeout=TIMEOUT_S)

    def pods(self, selector: str) -> list[Any]:
        """Oldest first."""
        with one_line_errors("cannot list pods"):
            found = self.core.list_namespaced_pod(self.name, label_selector=selector, _request_timeout=TIMEOUT_S).items
        return sorted(found, key=lambda pod: pod.metadata.creation_timestamp)

    def warnings(self) -> list[Any]:
        """Events that warn of something, oldest first."""
        with one_line_errors("cannot list events"):
            found = self.core.list_namespaced_event(
                self.name, field_selector="type=Warning", _request_timeout=TIMEOUT_S
            ).items
        return sorted(found, key=time_of)


def time_of(event: Any) -> datetime:
    """When an event was last seen."""
    seen: datetime = event.last_timestamp or event.event_time or event.metadata.creation_timestamp
    return seen


def connect(context: str | None = None, namespace: str | None = None) -> Namespace:
    """A namespace: the named one, else that of the kubeconfig's context.

    Raises:
        WrongInputError: no kubeconfig, or no such context in it.
    """
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    settings, file = client.Configuration(), Environment().kubeconfig
    try:
        files = KubeConfigMerger(file)
        if files.config is None:
            raise ConfigException(f"there is no {file}")
        loader = KubeConfigLoader(
            files.config, active_context=context, config_base_path=None, config_persister=files.save_changes
        )
        loader.load_and_set(settings)
    except (ConfigException, OSError, yaml.YAMLError, TypeError, AttributeError, ValueError) as error:
        # Of a file of another shape the client says only what Python says.
        reason = " ".join(str(error).split()).rstrip(".")
        raise WrongInputError(
            f"no cluster: cannot use kubeconfig {file} ({reason}); set KUBECONFIG, or name a --context of it"
        ) from error
    client.Configuration.set_default(settings)
    return Namespace(namespace or loader.current_context["context"].get("namespace") or "default")
