"""A namespace of a Kubernetes cluster: the client, and its errors as one line."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from synfundus.errors import SynfundusError, WrongInputError

GROUP, VERSION, PLURAL = "ray.io", "v1", "rayjobs"
STUDY_LABEL = "synfundus.io/study"
"""Of a RayJob: whose it is; the chart's template sets it."""
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
            found = self.custom.list_namespaced_custom_object(
                GROUP, VERSION, self.name, PLURAL, label_selector=STUDY_LABEL, _request_timeout=TIMEOUT_S
            )
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

    def create_job(self, job: dict[str, Any]) -> dict[str, Any]:
        with one_line_errors(f"cannot create job {job['metadata']['name']}"):
            made: dict[str, Any] = self.custom.create_namespaced_custom_object(
                GROUP, VERSION, self.name, PLURAL, job, _request_timeout=TIMEOUT_S
            )
        return made

    def delete_job(self, name: str) -> None:
        with one_line_errors(f"cannot delete job {name}"):
            self.custom.delete_namespaced_custom_object(
                GROUP, VERSION, self.name, PLURAL, name, propagation_policy="Foreground", _request_timeout=TIMEOUT_S
            )

    def config_maps(self, selector: str) -> list[Any]:
        with one_line_errors("cannot list ConfigMaps"):
            return list(
                self.core.list_namespaced_config_map(
                    self.name, label_selector=selector, _request_timeout=TIMEOUT_S
                ).items
            )

    def ensure_config_map(self, body: dict[str, Any]) -> None:
        """Create it, unless it is there."""
        with one_line_errors(f"cannot create ConfigMap {body['metadata']['name']}"):
            try:
                self.core.create_namespaced_config_map(self.name, body, _request_timeout=TIMEOUT_S)
            except ApiException as error:
                if error.status != CONFLICT:
                    raise

    def pods(self, selector: str) -> list[Any]:
        """Oldest first."""
        with one_line_errors("cannot list pods"):
            found = self.core.list_namespaced_pod(self.name, label_selector=selector, _request_timeout=TIMEOUT_S).items
        return sorted(found, key=lambda pod: pod.metadata.creation_timestamp)


def connect(context: str | None = None, namespace: str | None = None) -> Namespace:
    """A namespace: the named one, else that of the kubeconfig's context.

    Raises:
        WrongInputError: no kubeconfig, or no such context in it.
    """
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    try:
        config.load_kube_config(context=context)
        contexts, active = config.list_kube_config_contexts()
    except (ConfigException, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise WrongInputError(f"no cluster: {reason}; set KUBECONFIG, or name a --context of it") from error
    chosen = next((c for c in contexts if c["name"] == context), active)
    return Namespace(namespace or chosen["context"].get("namespace") or "default")
