"""Fixtures that several tests share."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

from support.s3_proxy import Proxy, proxy_of
from support.s3_store import Store, running_store
from support.tiny_study import PATIENT_KEY, PHANTOMS, FinishedStudy, run_process
from synfundus.distributed.ray_folder import ray_folder
from synfundus.distributed.session import prepare_ray_environment, start_ray, stop_ray
from synfundus.environment import Environment
from synfundus.storage import Storage, open_storage
from synfundus.storage import client as s3_client

ENDPOINTS = "tests/integration/serving/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the test on real photographs first. It is the longest, and waits for nothing that another process makes."""
    items.sort(key=lambda item: "test_real_run" not in item.nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Run the tests of one file in one process, and those of all files of the endpoints, which start once."""

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return ENDPOINTS if file.startswith(ENDPOINTS) else file

    return Scheduling(config, log)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """An empty root on disk."""
    return open_storage(str(tmp_path / "root"))


@pytest.fixture
def copies_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the local copies of S3 objects, which does not exist yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "synfundus" / "objects"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real photographs. Skips the test if `SYNFUNDUS_REAL_DATA` is not set."""
    folder = Environment().real_data
    if folder is None:
        pytest.skip("SYNFUNDUS_REAL_DATA is not set: no real photographs here")
    return Path(folder)


@pytest.fixture(scope="session")
def ray_session(_s3_process: Store) -> Iterator[None]:
    """A real local Ray cluster of four logical CPUs, shared by all tests. Its workers can reach the S3 store."""
    os.environ.update(
        {
            "RAY_AUTH_MODE": "disabled",
            # A worker that has imported the library is kept for the next test.
            "RAY_idle_worker_killing_time_threshold_ms": "60000",
            # At Ray's niceness of 15, a worker gets 4 % of a core that another process of the tests uses.
            "RAY_worker_niceness": "0",
        }
    )
    prepare_ray_environment()
    folders = (Path(__file__).parent, Path(__file__).parent / "benchmarks")
    stack = ExitStack()
    with pytest.MonkeyPatch.context() as workers:  # workers get the environment that Ray is started in
        workers.setenv(
            "PYTHONPATH", os.pathsep.join(map(str, folders))
        )  # pickles of the tests name modules of these folders
        for name, value in _s3_process.environment.items():
            workers.setenv(name, value)
        folder = stack.enter_context(ray_folder())
        start_ray(num_cpus=4, include_dashboard=False, object_store_memory=300 * 2**20, _temp_dir=str(folder))
    yield
    stop_ray()
    stack.close()


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> FinishedStudy:
    """A tiny study of phantoms, run whole by `synfundus study run FILE` in another process. Tests must not change it.

    `make test` has two processes: the first one that needs the study makes it, and the other one waits for it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "finished"
    folder.mkdir(exist_ok=True)
    file, outcome_file = folder / "tiny.yaml", folder / "outcome.json"
    with FileLock(folder / "lock"):
        if not outcome_file.exists():
            file.write_text(PHANTOMS)
            outcome = run_process("study", "run", file)
            outcome_file.write_text(json.dumps([outcome.code, outcome.out, outcome.err]))
    code, out, err = json.loads(outcome_file.read_text())
    assert code == 0, err
    return FinishedStudy(file, folder / "root", out, err)


@pytest.fixture(scope="session")
def _s3_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with running_store(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture
def s3_store(_s3_process: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A real S3 store with one bucket. The environment of this process points to it."""
    for name, value in _s3_process.environment.items():
        monkeypatch.setenv(name, value)
    clients = (s3_client.s3_client, s3_client.arrow_filesystem)  # a test may replace them
    yield _s3_process
    for kept in clients:
        kept.cache_clear()  # a client keeps the credentials that it found


@pytest.fixture
def proxy(s3_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in front of the S3 store, which this process uses."""
    with proxy_of(s3_store.endpoint) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running.endpoint)
        yield running


@pytest.fixture
def patient_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the patient key of the tiny study in this process, in place of the developer's own."""
    monkeypatch.setenv("SYNFUNDUS_PATIENT_KEY", PATIENT_KEY)
