"""One Ray session for everything that a command does."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from synfundus.settings import prepare_ray_environment

LOGICAL_CPUS = 4
"""Ray's CPU count is bookkeeping; fewer than four starve its own tasks beside a pool of actors."""
OBJECT_STORE_BYTES = 300 * 2**20


@contextmanager
def ray_session() -> Iterator[None]:
    """A local Ray cluster, or the one that this process already runs in (a job on a cluster)."""
    address = prepare_ray_environment()
    import ray  # reads the environment at import

    if ray.is_initialized():
        yield
        return
    with warnings.catch_warnings(), _silent_native_code():
        warnings.simplefilter("ignore")
        if address:
            ray.init(address=address, log_to_driver=False)
        else:
            ray.init(
                num_cpus=LOGICAL_CPUS,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    quiet_ray_data()
    try:
        yield
    finally:
        ray.shutdown()


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
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
