"""A stand-in for the API server of Kubernetes, over HTTP. It stores objects, fails on request, and runs nothing.

It serves tests of the command line alone; tests/cluster uses a real cluster.
"""

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

JOBS = "/apis/ray.io/v1/namespaces/fundus/rayjobs"
CONFIG_MAPS, PODS, EVENTS = (f"/api/v1/namespaces/fundus/{kind}" for kind in ("configmaps", "pods", "events"))


def _resources(group_version: str, *kinds: str) -> dict[str, Any]:
    named = [{"name": f"{kind.lower()}s", "kind": kind, "namespaced": True, "verbs": ["list"]} for kind in kinds]
    return {"kind": "APIResourceList", "groupVersion": group_version, "resources": named}


DISCOVERY: dict[str, dict[str, Any]] = {
    "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.4"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": _resources("v1", "ConfigMap", "Secret", "ServiceAccount"),
    "/apis": {
        "kind": "APIGroupList",
        "groups": [
            {"name": name, "versions": [{"groupVersion": f"{name}/v1", "version": "v1"}]}
            for name in ("ray.io", "apiextensions.k8s.io")
        ],
    },
    "/apis/apiextensions.k8s.io/v1": {
        "kind": "APIResourceList",
        "groupVersion": "apiextensions.k8s.io/v1",
        "resources": [{"name": "customresourcedefinitions", "kind": "CustomResourceDefinition", "verbs": ["get"]}],
    },
    "/apis/ray.io/v1": _resources("ray.io/v1", "RayJob", "RayService"),
}
"""Responses that helm needs before it renders: versions, and kinds of objects."""


@dataclass
class KubernetesApi:
    """Stored objects and planned failures of the server."""

    url: str = ""
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Stored objects, by path."""
    without: tuple[str, ...] = ()
    """Paths of lists that the server does not know, as without the definitions of KubeRay."""
    num_failures: int = 0
    """Number of requests that the server still answers with 503."""
    reads_until_gone: int = 0
    """Number of reads that still return a deleted object, with a deletionTimestamp."""
    requests_until_collected: int = 0
    """Number of requests for which objects outlive the deleted owner that their metadata names."""
    log: list[str] = field(default_factory=list)
    """Method and path of each request."""
    _uids: Iterator[int] = field(default_factory=itertools.count)
    _orphans: dict[str, int] = field(default_factory=dict)
    """Path of each object whose owner is deleted -> number of requests that it outlives."""

    def kubeconfig(self, folder: Path, **extra: Any) -> Path:
        """Write a kubeconfig that names this server as context `here`, and return its path."""
        content = {
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "fundus"}}],
            **extra,
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return path

    def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Store an object with the metadata that a server adds, and return it."""
        number = next(self._uids)
        added = {"uid": f"uid-{number}", "creationTimestamp": f"2026-11-26T02:00:{number:02d}Z"}
        body = body | {"metadata": body["metadata"] | added}
        self.objects[f"{path}/{body['metadata']['name']}"] = body
        return body

    def answer(self, method: str, target: str, body: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        """Return status and body of the response to a request."""
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        self.log.append(f"{method} {path}")
        self._collect()
        if self.num_failures:
            self.num_failures -= 1
            return 503, {"message": "unavailable"}
        if method == "POST":
            assert body is not None
            taken = f"{path}/{body['metadata']['name']}" in self.objects
            return (409, {"message": "already exists"}) if taken else (201, self.put(path, body))
        if path in DISCOVERY:
            return 200, DISCOVERY[path]
        if path in (JOBS, CONFIG_MAPS, PODS, EVENTS):
            if path in self.without:
                return 404, {"message": "page not found"}
            return 200, {
                "kind": "List",
                "apiVersion": "v1",
                "items": self._select(path, query.get("labelSelector", [""])[0]),
            }
        if path not in self.objects:
            return 404, {"message": "not found"}
        if method == "PUT":
            assert body is not None
            return 200, self.put(path.rpartition("/")[0], body)
        uid = self.objects[path]["metadata"].get("uid")
        if method == "DELETE" and ((body or {}).get("preconditions") or {}).get("uid", uid) != uid:
            return 409, {"message": "the UID differs"}
        return 200, self._read_or_delete(method, path)

    def _select(self, path: str, selector: str) -> list[dict[str, Any]]:
        """Return the objects of a list that a label selector matches."""
        found = [body for name, body in self.objects.items() if name.rpartition("/")[0] == path]
        for term in filter(None, selector.split(",")):
            key, _, value = term.partition("=")
            labels = [body["metadata"].get("labels", {}) for body in found]
            found = [one for one, own in zip(found, labels, strict=True) if own.get(key, "") == value or not value]
        return found

    def _read_or_delete(self, method: str, path: str) -> dict[str, Any]:
        """Return an object; after DELETE it has a deletionTimestamp, and is removed once it was read often enough."""
        body = self.objects[path]
        if method == "DELETE":
            body["metadata"]["deletionTimestamp"] = "2026-11-26T03:00:00Z"
        if "deletionTimestamp" in body["metadata"]:
            if self.reads_until_gone == 0:
                del self.objects[path]
                self.orphan(body["metadata"]["uid"])
            else:
                self.reads_until_gone -= 1
        return body

    def orphan(self, uid: str) -> None:
        """Mark the objects of a deleted owner for collection."""
        for path, body in self.objects.items():
            if uid in [owner["uid"] for owner in body["metadata"].get("ownerReferences", ())]:
                self._orphans[path] = self.requests_until_collected

    def _collect(self) -> None:
        """Remove objects whose owner is deleted, as Kubernetes's garbage collector does."""
        for path, left in list(self._orphans.items()):
            self._orphans[path] = left - 1
            if left <= 0:
                del self._orphans[path], self.objects[path]


@contextmanager
def kubernetes_api() -> Iterator[KubernetesApi]:
    """Run the server on a free port of 127.0.0.1."""
    api = KubernetesApi()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = api.answer(self.command, self.path, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _serve

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield api
        server.shutdown()
        thread.join()
