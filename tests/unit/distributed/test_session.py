"""The Ray session of a command: its environment, its start, its end."""

import os
import signal
import subprocess
import sys
from typing import Any

import psutil
import pytest
import ray

from synfundus.distributed import session
from synfundus.distributed.session import (
    FEWER_HELPERS,
    MIN_LOGICAL_CPUS,
    QUIET_AND_LIGHT,
    SPARE_CPUS,
    START_ATTEMPTS,
    WORKERS_MALLOC,
    prepare_ray_environment,
    ray_session,
)
from synfundus.errors import SynfundusError

LOCAL = QUIET_AND_LIGHT | WORKERS_MALLOC | FEWER_HELPERS
AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of Ray's is set, and after the test those from before are."""
    for name in ("RAY_ADDRESS", *AUTHENTICATION, *LOCAL):
        monkeypatch.setenv(name, "")  # so that monkeypatch restores it, whatever the test sets
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("no_variables")
def test_a_local_ray_gets_its_settings_and_an_access_token() -> None:
    assert prepare_ray_environment() is None
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert {name: os.environ[name] for name in LOCAL} == LOCAL


@pytest.mark.usefixtures("no_variables")
def test_variables_that_the_user_set_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    assert prepare_ray_environment() is None
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert os.environ["MALLOC_ARENA_MAX"] == "4"


@pytest.mark.usefixtures("no_variables")
def test_a_process_in_a_cluster_leaves_malloc_and_authentication_to_the_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert prepare_ray_environment() == "head:6379"
    assert os.environ.keys().isdisjoint((*AUTHENTICATION, *WORKERS_MALLOC, *FEWER_HELPERS))


class FakeRay:
    """A Ray whose first starts fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
        self.failures, self.starts, self.shut_down = failures, list[dict[str, Any]](), 0
        self.policies: list[int] = []
        monkeypatch.setattr(ray, "init", self.init)
        monkeypatch.setattr(ray, "shutdown", self.shutdown)
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(session, "quiet_ray_data", lambda: None)
        monkeypatch.setattr(session, "prepare_ray_environment", lambda: None)

    def init(self, **options: Any) -> None:
        self.starts.append(options)
        self.policies.append(os.sched_getscheduler(0))
        if len(self.starts) <= self.failures:
            raise Exception("The current node timed out\n during startup.")

    def shutdown(self) -> None:
        self.shut_down += 1


def test_a_failed_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay(monkeypatch, START_ATTEMPTS - 1)
    with ray_session():
        assert len(fake.starts) == START_ATTEMPTS
    assert fake.shut_down == START_ATTEMPTS


def test_a_ray_that_never_starts_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeRay(monkeypatch, START_ATTEMPTS)
    message = r"^Ray did not start \(The current node timed out during startup\); free CPU or memory and try again$"
    with pytest.raises(SynfundusError, match=message), ray_session():
        raise AssertionError("there is no session")


def test_the_processes_of_ray_run_under_sched_batch_and_this_process_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.sched_getscheduler(0)
    fake = FakeRay(monkeypatch, 0)
    with ray_session():
        assert os.sched_getscheduler(0) == before
    assert fake.policies == [os.SCHED_BATCH]


def test_every_worker_has_a_logical_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would wait forever for a worker without one."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    fake = FakeRay(monkeypatch, 0)
    for num_workers in (1, 9):
        with ray_session(num_workers):
            pass
    assert [options["num_cpus"] for options in fake.starts] == [MIN_LOGICAL_CPUS, 9 + SPARE_CPUS]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_interrupt_the_end_of_ray(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """`synfundus serve` turns both signals into KeyboardInterrupt."""
    FakeRay(monkeypatch, 0)
    ended = []

    def end() -> None:
        signal.raise_signal(number)
        ended.append(number)

    monkeypatch.setattr(session, "stop_ray", end)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), ray_session():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert ended == [number]


HANGS_AT_ITS_END = """
import atexit, contextlib, os, time
import psutil
from synfundus.distributed.session import ray_session

with ray_session():
    import ray

    @ray.remote
    class Hanging:
        def process_id(self):
            atexit.register(time.sleep, 1000)
            return os.getpid()

    actor = Hanging.remote()
    process_id = ray.get(actor.process_id.remote())
    actor.__ray_terminate__.remote()
    with contextlib.suppress(ray.exceptions.RayActorError):  # Ray believes that it has died
        ray.get(actor.process_id.remote())
    print(process_id, psutil.pid_exists(process_id))
"""


def test_a_worker_that_hangs_at_its_end_does_not_outlive_the_session() -> None:
    """Ray's own shutdown leaves this worker alive, because the raylet no longer counts it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", HANGS_AT_ITS_END], env=environment, capture_output=True, text=True, timeout=300
    )
    process_id, was_alive = done.stdout.split()
    assert was_alive == "True", done.stderr
    assert not psutil.pid_exists(int(process_id))
