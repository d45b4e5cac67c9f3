"""A namespace of a Kubernetes cluster: the few requests that are needed, and their errors as one line each."""

import json
import logging
import re
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
from pydantic import JsonValue

from synfundus.cluster.ray_job import STUDY_LABEL, RayJob
from synfundus.environment import Environment
from synfundus.errors import SynfundusError, WrongInputError

GROUP, VERSION, PLURAL = "ray.io", "v1", "rayjobs"
TIMEOUT_S = 30
NOT_FOUND, CONFLICT = 404, 409
USER_ERRORS = (400, 401, 403, 404, 422)
"""HTTP statuses that the user can correct: rights, names, credentials."""
UNKNOWN_FIELD = re.compile(r'unknown field "([^"]+)"')
"""Part of the API server's message about a field that the CustomResourceDefinition does not have."""
JsonObject = dict[str, JsonValue]
"""A Kubernetes object to create, as JSON of the Kubernetes API."""


@contextmanager
def one_line_errors(action: str) -> Iterator[None]:
    """Turn errors of the API server, and of the connection to it, into one line.

    Args:
        action: what failed, such as `cannot list jobs`.

    Raises:
        WrongInputError: the user can correct it.
        SynfundusError: the server does not answer.
    """
    try:
        yield
    except ApiException as error:
        kind = WrongInputError if error.status in USER_ERRORS else SynfundusError
        raise kind(f"{action}: the cluster answers {error.status} ({_message(error)})") from error
    except urllib3.exceptions.HTTPError as error:
        reason = " ".join(str(error).split())[:200]
        raise SynfundusError(f"{action}: the cluster does not answer ({reason})") from error


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


@dataclass(frozen=True)
class Namespace:
    """The namespace in which jobs run; `connect` returns one."""

    name: str

    @cached_property
    def core(self) -> Any:
        """Client of the core API."""
        return client.CoreV1Api()

    @cached_property
    def _custom(self) -> Any:
        return client.CustomObjectsApi()

    def jobs(self) -> list[RayJob]:
        """Return all RayJobs of studies, oldest first."""
        with one_line_errors("cannot list jobs"):
            try:
                found = self._custom.list_namespaced_custom_object(
                    GROUP, VERSION, self.name, PLURAL, label_selector=STUDY_LABEL, _request_timeout=TIMEOUT_S
                )
            except ApiException as error:
                if error.status == NOT_FOUND:  # the kind is unknown; in an unknown namespace the list is empty
                    raise WrongInputError(
                        "the cluster has no resource type RayJob; install the KubeRay operator first"
                    ) from error
                raise
        return sorted(map(RayJob.from_object, found["items"]), key=lambda job: job.created)

    def job(self, name: str) -> RayJob | None:
        """Return a RayJob, or None if there is none of this name."""
        with one_line_errors(f"cannot read job {name}"):
            try:
                found = self._custom.get_namespaced_custom_object(
                    GROUP, VERSION, self.name, PLURAL, name, _request_timeout=TIMEOUT_S
                )
            except ApiException as error:
                if error.status == NOT_FOUND:
                    return None
                raise
        return RayJob.from_object(found)

    def create_job(self, name: str, body: JsonObject) -> RayJob | None:
        """Create a RayJob and return it, or None if another user has created one of this name.

        Raises:
            WrongInputError: the cluster's KubeRay does not know a field of the job. Without strict validation the API
                server would drop the field: without `authOptions`, Ray runs every job that is posted to it.
        """
        with one_line_errors(f"cannot create job {name}"):
            try:
                created = self._custom.create_namespaced_custom_object(
                    GROUP, VERSION, self.name, PLURAL, body, field_validation="Strict", _request_timeout=TIMEOUT_S
                )
            except ApiException as error:
                if error.status == CONFLICT:
                    return None
                unknown = sorted(set(UNKNOWN_FIELD.findall(_message(error))))
                if unknown:
                    raise WrongInputError(
                        f"KubeRay on this cluster is too old: it does not know {', '.join(unknown)}; upgrade the"
                        " KubeRay operator and its CRDs to 1.6 or later"
                    ) from error
                raise
        return RayJob.from_object(created)

    def delete_job(self, name: str, uid: str) -> None:
        """Delete a RayJob; a job of this name with another UID stays."""
        with one_line_errors(f"cannot delete job {name}"):
            try:
                self._custom.delete_namespaced_custom_object(
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
        """Return the ConfigMaps that a label selector matches."""
        with one_line_errors("cannot list ConfigMaps"):
            return list(
                self.core.list_namespaced_config_map(
                    self.name, label_selector=selector, _request_timeout=TIMEOUT_S
                ).items
            )

    def create_config_map(self, name: str, body: JsonObject, owner_uid: str) -> bool:
        """Create a ConfigMap; return False while one of a former owner exists, which Kubernetes deletes."""
        with one_line_errors(f"cannot create ConfigMap {name}"):
            try:
                self.core.create_namespaced_config_map(self.name, body, _request_timeout=TIMEOUT_S)
            except ApiException as error:
                if error.status != CONFLICT:
                    raise
                return self._is_owned(name, owner_uid)
        return True

    def _is_owned(self, name: str, owner_uid: str) -> bool:
        """Return whether a ConfigMap exists and belongs to this owner."""
        try:
            existing = self.core.read_namespaced_config_map(name, self.name, _request_timeout=TIMEOUT_S)
        except ApiException as error:
            if error.status == NOT_FOUND:
                return False
            raise
        return [one.uid for one in existing.metadata.owner_references or ()] == [owner_uid]

    def pods(self, selector: str) -> list[Any]:
        """Return the pods that a label selector matches, oldest first."""
        with one_line_errors("cannot list pods"):
            found = self.core.list_namespaced_pod(self.name, label_selector=selector, _request_timeout=TIMEOUT_S).items
        return sorted(found, key=lambda pod: pod.metadata.creation_timestamp)

    def events(self, selector: str) -> list[Any]:
        """Return the events that a field selector matches, such as `type=Warning`, oldest first."""
        with one_line_errors("cannot list events"):
            found = self.core.list_namespaced_event(
                self.name, field_selector=selector, _request_timeout=TIMEOUT_S
            ).items
        return sorted(found, key=time_of)


def time_of(event: Any) -> datetime:
    """Return the time at which an event occurred last."""
    latest: datetime = event.last_timestamp or event.event_time or event.metadata.creation_timestamp
    return latest


def connect(context: str | None = None, namespace: str | None = None) -> Namespace:
    """Return the named namespace, by default that of the kubeconfig's context.

    Raises:
        WrongInputError: there is no kubeconfig, or it has no such context.
    """
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    configuration, file = client.Configuration(), Environment().kubeconfig
    try:
        files = KubeConfigMerger(file)
        if files.config is None:
            raise ConfigException(f"there is no {file}")
        loader = KubeConfigLoader(
            files.config, active_context=context, config_base_path=None, config_persister=files.save_changes
        )
        loader.load_and_set(configuration)
    except (ConfigException, OSError, yaml.YAMLError, TypeError, AttributeError, ValueError) as error:
        # For a file of another structure the client raises any of Python's errors.
        reason = " ".join(str(error).split()).rstrip(".")
        raise WrongInputError(
            f"no cluster: cannot use kubeconfig {file} ({reason}); set KUBECONFIG, or name one of its contexts with"
            " --context"
        ) from error
    client.Configuration.set_default(configuration)
    return Namespace(namespace or loader.current_context["context"].get("namespace") or "default")
