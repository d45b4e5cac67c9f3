"""A Ray session: what it asks for, and what is told when it does not start."""

import os
import subprocess
import sys
from typing import Any

import psutil
import pytest
import ray

from synfundus.distributed import session
from synfundus.distributed.session import MIN_LOGICAL_CPUS, SPARE_CPUS, START_ATTEMPTS, ray_session
from synfundus.errors import SynfundusError


class FakeRay:
    """Stands for Ray's start, which fails so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
        self.failures, self.asked, self.shut_down = failures, list[dict[str, Any]](), 0
        self.policies: list[int] = []
        monkeypatch.setattr(ray, "init", self.init)
        monkeypatch.setattr(ray, "shutdown", self.shutdown)
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(session, "quiet_ray_data", lambda: None)
        monkeypatch.setattr(session, "prepare_ray_environment", lambda: None)

    def init(self, **options: Any) -> None:
        self.asked.append(options)
        self.policies.append(os.sched_getscheduler(0))
        if len(self.asked) <= self.failures:
            raise Exception("The current node timed out\n during startup.")

    def shutdown(self) -> None:
        self.shut_down += 1


def test_a_slow_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay(monkeypatch, START_ATTEMPTS - 1)
    with ray_session():
        assert len(fake.asked) == START_ATTEMPTS
    assert fake.shut_down == START_ATTEMPTS


def test_no_start_at_all_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeRay(monkeypatch, START_ATTEMPTS)
    said = r"^Ray did not start \(The current node timed out during startup\); free processor or memory and try again$"
    with pytest.raises(SynfundusError, match=said), ray_session():
        raise AssertionError("there is no session")


def test_what_ray_starts_is_scheduled_as_a_batch_and_this_process_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.sched_getscheduler(0)
    fake = FakeRay(monkeypatch, 0)
    with ray_session():
        assert os.sched_getscheduler(0) == before
    assert fake.policies == [os.SCHED_BATCH]


def test_there_is_a_logical_processor_for_every_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer, Ray would wait forever for the rest."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    fake = FakeRay(monkeypatch, 0)
    for num_workers in (1, 9):
        with ray_session(num_workers):
            pass
    assert [options["num_cpus"] for options in fake.asked] == [MIN_LOGICAL_CPUS, 9 + SPARE_CPUS]


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
    with contextlib.suppress(ray.exceptions.RayActorError):  # Ray takes it for dead
        ray.get(actor.process_id.remote())
    print(process_id, psutil.pid_exists(process_id))
"""


def test_a_worker_that_hangs_at_its_end_does_not_outlive_the_session() -> None:
    """Ray's own shutdown leaves it: it is no worker of the raylet any more."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", HANGS_AT_ITS_END], env=environment, capture_output=True, text=True, timeout=300
    )
    process_id, was_there = done.stdout.split()
    assert was_there == "True", done.stderr
    assert not psutil.pid_exists(int(process_id))
