"""A real S3 store on this machine for tests: versitygw if its binary is found, else moto's server.

moto's conditional PUT is not atomic, so races are tested with versitygw only.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from support.certificates import Certificates

BUCKET = "fundus"
ACCESS_KEY, SECRET_KEY = "tests-access-key", "tests-secret-key-that-nothing-may-repeat"
START_S = 30
ADDRESS, PORT = "<address>", "<port>"
"""Placeholders in a command, replaced by a free address when the server starts."""


@dataclass(frozen=True)
class Store:
    """A running store with one bucket."""

    endpoint: str
    folder: Path
    """Folder of its objects on disk."""
    atomic: bool
    """True if exactly one of two concurrent conditional PUTs wins."""

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which a process reaches the store."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
            "XDG_CACHE_HOME": str(self.folder / "cache"),  # copies of objects, which are not left in the home folder
        }


@cache
def _versitygw() -> str | None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("KUBE_NODE_HOME") or cache / "kube-node")
    return shutil.which("versitygw") or shutil.which(str(home / "bin" / "versitygw"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_store(folder: Path, certificates: Certificates | None = None) -> Iterator[Store]:
    """Run a store that keeps its objects below `folder`; stop it at the end. With certificates it speaks TLS only."""
    binary = _versitygw()
    for name in ("objects", "meta"):
        (folder / name).mkdir(parents=True)
    tls = ["--cert", str(certificates.server), "--key", str(certificates.server_key)] if certificates else []
    ca_file = str(certificates.authority) if certificates else None
    with _running(_gateway(binary, folder, *tls) if binary else _moto(certificates), ca_file) as endpoint:
        client(endpoint, ca_file).create_bucket(Bucket=BUCKET)
        yield Store(endpoint, folder, atomic=binary is not None)


@contextmanager
def read_only(store: Store) -> Iterator[str]:
    """Run a second versitygw over the same objects, which refuses every write; yield its endpoint."""
    binary = _versitygw()
    assert binary is not None
    with _running(_gateway(binary, store.folder, "--readonly")) as endpoint:
        yield endpoint


def _gateway(binary: str, folder: Path, *options: str) -> list[str]:
    keys = ["--access", ACCESS_KEY, "--secret", SECRET_KEY]
    return [binary, *keys, *options, "--port", ADDRESS, "posix", "--sidecar", f"{folder}/meta", f"{folder}/objects"]


def _moto(certificates: Certificates | None) -> list[str]:
    tls = ["-c", str(certificates.server), "-k", str(certificates.server_key)] if certificates else []
    return [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", PORT, *tls]


@contextmanager
def _running(command: list[str], ca_file: str | None = None) -> Iterator[str]:
    """Run a server, yield its endpoint once it responds, and stop it at the end."""
    port = str(free_port())
    address = {ADDRESS: f"127.0.0.1:{port}", PORT: port}
    filled = [address.get(word, word) for word in command]
    process = subprocess.Popen(filled, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = f"{'https' if ca_file else 'http'}://127.0.0.1:{port}"
    end_s = time.monotonic() + START_S
    try:
        while True:
            try:
                client(endpoint, ca_file).list_buckets()
                break
            except Exception:
                if process.poll() is not None or time.monotonic() > end_s:
                    raise
            time.sleep(0.2)
        yield endpoint
    finally:
        process.kill()
        process.wait()


def client(endpoint: str, ca_file: str | None = None) -> Any:
    """Return a client of boto3 that is independent of the library, to look into the store."""
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config, verify=ca_file, **keys)
