"""The API server of Kubernetes with its store, as two processes of this machine: real rules and validation, no pods."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support.s3_store import free_port

START_S = 60
TOOLS = Path(os.environ.get("KUBE_NODE_HOME", Path.home() / ".cache" / "kube-node"))
"""Folder with `bin/` and `crds/` of a local test cluster; tools on PATH come first."""
CRDS = TOOLS / "crds" / "kuberay"
TOKEN = "token-of-the-tests"
USERS = ("admin", "installer", "user")
"""Users with a kubeconfig. `admin` may do everything, the others only what a test grants."""


def tool(name: str) -> str:
    """Return the path of a tool. Without it the calling test skips; with CI=true it fails."""
    path = shutil.which(name) or shutil.which(str(TOOLS / "bin" / name))
    if path is None or not CRDS.is_dir():
        message = f"{name}, or KubeRay's CRDs in {CRDS}, are missing, so no API server of Kubernetes can be tested"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


@dataclass(frozen=True)
class ApiServer:
    """A running API server."""

    url: str
    folder: Path

    def kubeconfig(self, user: str) -> Path:
        """Return the path of the kubeconfig of a user."""
        path = self.folder / f"{user}.kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.folder / "pki" / "apiserver.crt")}
        content = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": f"{TOKEN}-{user}"}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": user, "namespace": "fundus"}}],
            "current-context": "here",
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def run(self, *command: str, user: str = "admin", text: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a command of kubectl or helm as a user."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig(user))}
        words = [tool(command[0]), *command[1:]]
        return subprocess.run(words, env=environment, input=text, capture_output=True, text=True)

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl as administrator, and return its output."""
        outcome = self.run("kubectl", *arguments, text=text)
        assert outcome.returncode == 0, outcome.stderr
        return outcome.stdout

    def may(self, user: str, *request: str) -> bool:
        """Return whether a user may do something in the namespace, such as `get secret/synfundus`."""
        return self.run("kubectl", "auth", "can-i", *request, user=user).stdout.strip() == "yes"


@contextmanager
def api_server(folder: Path) -> Iterator[ApiServer]:
    """Run an API server with an empty store below `folder`."""
    pki = folder / "pki"
    pki.mkdir()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (pki / "sa.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    groups = {"admin": ',"system:masters"'}
    (folder / "tokens.csv").write_text(
        "".join(f"{TOKEN}-{user},{user},{user}{groups.get(user, '')}\n" for user in USERS)
    )
    store, peers, port = (free_port() for _ in range(3))
    of_store = f"http://127.0.0.1:{store}"
    etcd = [tool("etcd"), f"--data-dir={folder}/etcd", "--unsafe-no-fsync", f"--listen-client-urls={of_store}"]
    etcd += [f"--advertise-client-urls={of_store}", f"--listen-peer-urls=http://127.0.0.1:{peers}"]
    server = [tool("kube-apiserver"), f"--etcd-servers={of_store}", f"--cert-dir={pki}", f"--secure-port={port}"]
    server += ["--bind-address=127.0.0.1", "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC"]
    server += ["--service-account-issuer=https://kubernetes.default.svc", f"--token-auth-file={folder}/tokens.csv"]
    server += [f"--service-account-key-file={pki}/sa.key", f"--service-account-signing-key-file={pki}/sa.key"]
    with (folder / "log").open("wb") as log:
        running = [subprocess.Popen(command, stdout=log, stderr=log) for command in (etcd, server)]
    try:
        api = ApiServer(f"https://127.0.0.1:{port}", folder)
        _wait_until_ready(api, running)
        yield api
    finally:
        for process in reversed(running):
            process.kill()
            process.wait()


def _wait_until_ready(api: ApiServer, running: "list[subprocess.Popen[bytes]]") -> None:
    end_s = time.monotonic() + START_S
    while api.run("kubectl", "get", "--raw", "/readyz").returncode != 0:
        log = (api.folder / "log").read_text(errors="replace")[-2000:]
        assert all(process.poll() is None for process in running), log
        assert time.monotonic() < end_s, log
        time.sleep(0.3)
