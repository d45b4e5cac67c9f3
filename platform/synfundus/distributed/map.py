"""Work on a pool of Ray Data actors: one row of Ray Data is one item of work, what comes back is our own object.

Ray Data sees positions only (`range`: no list of work to hold or to send), and results and errors of ours as pickled
bytes: Ray would hand on an error as a long text, without its kind.
"""

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synfundus.errors import SynfundusError

POOL_LABEL = "synfundus.io/pool"
_IN_FLIGHT = 2
"""Items an actor holds: one at work, and the next, so that it never waits for the driver."""


def run_on_pool(
    worker: type[Any],
    arguments: tuple[Any, ...],
    num_items: int,
    pool_size: int,
    *,
    gpu: bool = False,
    nodes: str | None = None,
) -> Iterator[Any]:
    """`worker(*arguments)(position)` of every position below `num_items`, in the order they finish.

    Args:
        worker: a class, built once an actor. An object reference among `arguments` reaches it as its object, which
            the actors of a node share.
        pool_size: actors; not more than there are items.
        gpu: each actor takes one GPU besides its CPU.
        nodes: run only on nodes whose label `synfundus.io/pool` has this value.

    Raises:
        SynfundusError: the first that a worker raised, as it was.
    """
    import ray
    from ray.data import ActorPoolStrategy

    if not num_items:
        return
    # Ray shows an actor by the name of its class: in the dashboard and in the list of processes.
    named = type(worker.__name__, (_Actor,), {})
    results = ray.data.range(num_items, override_num_blocks=num_items).map_batches(
        named,
        batch_size=1,
        fn_constructor_args=(worker, arguments),
        compute=ActorPoolStrategy(size=min(pool_size, num_items), max_tasks_in_flight_per_actor=_IN_FLIGHT),
        num_cpus=1,
        num_gpus=1 if gpu else 0,
        label_selector=None if nodes is None else {POOL_LABEL: nodes},
    )
    for row in results.iter_rows():
        result = pickle.loads(row["result"])  # noqa: S301  made by this program, in memory
        if isinstance(result, SynfundusError):
            raise result
        yield result


class _Actor:
    """One actor: a worker, or the error that kept it from being built."""

    def __init__(self, worker: type[Any], arguments: tuple[Any, ...]) -> None:
        import ray

        self.worker: Callable[[int], Any] | SynfundusError
        try:
            self.worker = worker(*(ray.get(a) if isinstance(a, ray.ObjectRef) else a for a in arguments))
        except SynfundusError as error:
            self.worker = error

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> dict[str, list[bytes]]:
        (position,) = batch["id"]
        try:
            result = self.worker if isinstance(self.worker, SynfundusError) else self.worker(int(position))
        except SynfundusError as error:
            result = error
        return {"result": [pickle.dumps(result)]}
