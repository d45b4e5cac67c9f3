"""One Ray session for everything that a command does."""

import logging
import os
import secrets
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from synfundus.errors import SynfundusError

MIN_LOGICAL_CPUS = 4
"""Ray's CPU count is bookkeeping; fewer than four starve its own tasks beside a pool of actors."""
SPARE_CPUS = 2
"""For Ray's own tasks, beside the workers or actors of a stage."""
OBJECT_STORE_BYTES = 300 * 2**20
START_ATTEMPTS = 3
EXIT_S = 3.0
"""Workers end with their raylet, within a second."""

WORKERS_MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
}
"""glibc's malloc in Ray's workers. They train in a thread that is not the first, whose arena gives every large tensor
back to the system and faults its pages in again: some 10,000 faults a step of the demo's generator, none with these."""

FEWER_HELPERS = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # no other machine is there to be taken away
    "RAY_num_workers_soft_limit": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "10000",  # idle workers go, but not between two passes of a stage
}
"""Ray's processes wake up a hundred times a second each, idle or not, and each time stop a thread that trains."""


def prepare_ray_environment() -> str | None:
    """Set what Ray reads at import, where the user has not.

    A local cluster listens on an address of the machine, where others may reach it: it gets a token of its own.

    Returns:
        Address of the cluster that this process belongs to; None: start one.
    """
    environment = os.environ  # noqa: TID251  Ray is set up through it
    address = environment.get("RAY_ADDRESS")
    if not address:
        environment.setdefault("RAY_AUTH_MODE", "token")
        if environment["RAY_AUTH_MODE"] == "token":
            environment.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        for name, value in (WORKERS_MALLOC | FEWER_HELPERS).items():
            environment.setdefault(name, value)
    environment.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    # Ray's C++ core writes errors of its own bookkeeping to the terminal (ray#53727, for every actor pool of Ray Data).
    environment.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    environment.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "0")
    environment.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    return address


@contextmanager
def ray_session(num_workers: int = 1) -> Iterator[None]:
    """A local Ray cluster, or the one that this process already runs in (a job on a cluster).

    Args:
        num_workers: most workers or actors that a stage asks for; with fewer logical CPUs it would wait forever.

    Raises:
        SynfundusError: Ray did not start.
    """
    address = prepare_ray_environment()
    import ray  # reads the environment at import

    if ray.is_initialized():
        yield
        return
    try:
        if address:
            start_ray(address=address)
        else:
            num_cpus = max(MIN_LOGICAL_CPUS, os.cpu_count() or 1, num_workers + SPARE_CPUS)
            with _batch_scheduling():
                start_ray(num_cpus=num_cpus, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES)
        yield
    finally:
        with _interrupts_ignored():
            stop_ray()


@contextmanager
def _batch_scheduling() -> Iterator[None]:
    """Processes started meanwhile do not interrupt each other when they wake up, only when a slice of time is over.

    Ray's dozen helpers wake many times a second; on two cores each time stops a thread that the other one waits for.
    """
    before = os.sched_getscheduler(0)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, before, os.sched_param(0))


def start_ray(**options: Any) -> None:
    """`ray.init`, tried again: on a busy machine a start may take longer than the 30 s that Ray waits for it.

    Raises:
        SynfundusError: Ray did not start.
    """
    import ray

    for attempts_left in reversed(range(START_ATTEMPTS)):
        try:
            with warnings.catch_warnings(), _silent_native_code():
                warnings.simplefilter("ignore")
                ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
            break
        except Exception as error:  # Ray raises a bare Exception, RuntimeError or ConnectionError
            ray.shutdown()
            if not attempts_left:
                reason = " ".join(str(error).split()).rstrip(".")
                raise SynfundusError(f"Ray did not start ({reason}); free processor or memory and try again") from error
    quiet_ray_data()


def stop_ray() -> None:
    """`ray.shutdown`, and an end to workers that outlive their raylet.

    About one session in ten leaves one: on its way out it waits for ever for a lock of Ray's own that is gone, with all
    its memory (ray 2.60, `~CoreWorkerProcessImpl`, where a publisher posts to an event loop that is being destroyed).
    """
    import ray

    workers: dict[psutil.Process, list[psutil.Process]] = {}
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # others come and go
            if child.name() == "raylet":
                workers[child] = child.children(recursive=True)
    ray.shutdown()
    orphans = [worker for raylet, its in workers.items() if not raylet.is_running() for worker in its]
    _, left = psutil.wait_procs(orphans, timeout=EXIT_S)
    for worker in left:
        with suppress(psutil.NoSuchProcess):
            worker.kill()
    psutil.wait_procs(left, timeout=EXIT_S)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A second Ctrl-C must not break off the cleaning up after the first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _silent_native_code() -> Iterator[None]:
    """What C++ writes to the process's standard error is dropped: Ray tells there which log level it was given.

    A failure of Ray's start is a Python exception all the same.
    """
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def quiet_ray_data() -> None:
    """Our own progress line is enough."""
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1  # a cluster may take long to grow; Ctrl-C and deadlines are the user's
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
