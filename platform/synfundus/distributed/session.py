"""The Ray session of a command, and the environment of Ray's processes."""

import logging
import os
import secrets
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psutil

from synfundus.distributed.ray_folder import ray_folder
from synfundus.environment import Environment
from synfundus.errors import SynfundusError

MIN_LOGICAL_CPUS = 4
"""Smallest number of CPUs that Ray is started with. With fewer, a pool of actors would starve Ray's own tasks."""
SPARE_CPUS = 2
"""Logical CPUs for Ray's own tasks, besides those of a stage's workers."""
OBJECT_STORE_BYTES = 300 * 2**20
START_ATTEMPTS = 3
EXIT_S = 3.0
"""Time that workers have to end after their raylet; they need less than a second."""

WORKERS_MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
}
"""Settings of glibc's malloc for Ray's workers; the chart sets the same in every pod.

A worker trains in a thread that is not its first. The arena of such a thread returns each large tensor to the system
and faults its pages in again: about 10,000 page faults per step of the demo's generator without these settings, none
with them.
"""

FEWER_HELPERS = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # no machine can be taken away from a local cluster
    "RAY_num_workers_soft_limit": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "10000",  # long enough to keep workers between two passes of a stage
}
"""Settings that keep a local cluster small.

Each of Ray's processes wakes up a hundred times a second, idle or not, and interrupts a thread that trains.
"""

QUIET_AND_LIGHT = {
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # the C++ core prints harmless errors for every actor pool (ray#53727)
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Settings for any cluster, local or not."""


def prepare_ray_environment() -> str | None:
    """Set the variables that Ray reads at import, unless the user has set them.

    A local cluster listens on an address of the machine that others may reach, so it gets an access token.

    Returns:
        Address of the cluster that this process belongs to; None if Ray has to be started.
    """
    environment, variables = Environment(), os.environ  # noqa: TID251  Ray is configured through it
    defaults = dict(QUIET_AND_LIGHT)
    if environment.ray_address is None:
        defaults |= WORKERS_MALLOC | FEWER_HELPERS | {"RAY_AUTH_MODE": environment.ray_auth_mode}
        if environment.ray_auth_mode == "token":
            defaults["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    for name, value in defaults.items():
        variables.setdefault(name, value)
    return environment.ray_address


@contextmanager
def ray_session(num_workers: int = 1) -> Iterator[None]:
    """Start a local Ray cluster, or join the one that this process runs in (a job on a cluster).

    Args:
        num_workers: largest number of workers that a stage needs at once; Ray would wait forever for a worker
            without a logical CPU.

    Raises:
        SynfundusError: Ray did not start.
    """
    address = prepare_ray_environment()
    import ray  # reads the environment at import

    if ray.is_initialized():
        yield
        return
    cleanup = ExitStack()
    try:
        if address:
            start_ray(address=address)
        else:
            num_cpus = max(MIN_LOGICAL_CPUS, os.cpu_count() or 1, num_workers + SPARE_CPUS)
            folder = cleanup.enter_context(ray_folder())
            with _batch_scheduling():
                start_ray(
                    num_cpus=num_cpus,
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _temp_dir=str(folder),
                )
        yield
    finally:
        with _interrupts_ignored():
            stop_ray()
            cleanup.close()


@contextmanager
def _batch_scheduling() -> Iterator[None]:
    """Start processes under SCHED_BATCH in the body, so that a process that wakes up interrupts no other.

    Ray's dozen helper processes wake up many times a second. On two cores, each time would stop a training thread that
    the other one waits for.
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
    """Call `ray.init`, up to `START_ATTEMPTS` times: on a busy machine a start may take longer than Ray's 30 s.

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
                raise SynfundusError(f"Ray did not start ({reason}); free CPU or memory and try again") from error
    quiet_ray_data()


def stop_ray() -> None:
    """Shut Ray down, and kill workers that outlive their raylet.

    About one session in ten leaves such a worker. While it ends, it waits forever for a lock of Ray's own and keeps its
    memory (ray 2.60, `~CoreWorkerProcessImpl`: a publisher posts to an event loop that is being destroyed).
    """
    import ray

    workers: dict[psutil.Process, list[psutil.Process]] = {}
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended since it was listed
            if child.name() == "raylet":
                workers[child] = child.children(recursive=True)
    ray.shutdown()
    orphans = [worker for raylet, children in workers.items() if not raylet.is_running() for worker in children]
    _, alive = psutil.wait_procs(orphans, timeout=EXIT_S)
    for worker in alive:
        with suppress(psutil.NoSuchProcess):
            worker.kill()
    psutil.wait_procs(alive, timeout=EXIT_S)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM in the body, so that a second one does not interrupt the clean-up after the first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _silent_native_code() -> Iterator[None]:
    """Drop what C++ code writes to standard error in the body: Ray announces its log level there.

    A failed start of Ray is still a Python exception.
    """
    saved, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(devnull)


def quiet_ray_data() -> None:
    """Turn off Ray Data's progress bars and logs; a stage shows its own progress."""
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1  # a cluster may take long to add nodes; the user sets deadlines
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
