"""Map items of work over a pool of Ray Data workers.

Items, results and our own errors pass through Ray as pickled bytes, because Ray turns an error into a long text and
loses its type.
"""

import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

from synfundus.errors import SynfundusError
from synfundus.resources import PoolResources

POOL_LABEL = "synfundus.io/pool"
"""Label of a Ray node that names the node's pool."""
MAX_BLOCKS = 1000
"""Ray Data blocks, which each cost the driver time and memory; more items than this share them."""
ITEMS_IN_FLIGHT = 2
"""Items that an actor holds: the current one and the next, so that it never waits for the driver."""

_Row = dict[str, bytes]
"""One row of Ray Data: `data` holds a pickled item, or what `carry` returns."""


def run_on_pool(
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
    items: Sequence[Any],
    resources: PoolResources,
    *,
    nodes: str | None = None,
) -> Iterator[Any]:
    """Yield the result of every item, in the order in which they finish.

    Args:
        work: a class, built once per worker as `work(*arguments)` and called with one item at a time; or a function,
            called as `work(item, *arguments)`.
        arguments: values that all items share. An object reference is replaced by its object, which the workers of a
            node share.
        resources: size of the pool (at most one worker per item) and GPUs of a worker.
        nodes: value of the label `synfundus.io/pool` of the nodes to run on; None runs on any node.

    Raises:
        SynfundusError: the first one that a worker raised, unchanged.
    """
    import ray
    from ray.data import ActorPoolStrategy, TaskPoolStrategy

    if not items:
        return
    rows = [{"data": pickle.dumps(item)} for item in items]
    source = ray.data.from_items(rows, override_num_blocks=min(len(rows), MAX_BLOCKS))
    size = min(resources.pool_size, len(items))
    if isinstance(work, type):
        # Ray shows an actor by the name of its class, in the dashboard and in the list of processes.
        named = type(work.__name__, (_Actor,), {})
        pool = ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=ITEMS_IN_FLIGHT)
        how = {"fn": named, "fn_constructor_args": (work, arguments), "compute": pool}
    else:
        how = {"fn": _call, "fn_args": (work, arguments), "compute": TaskPoolStrategy(size)}
    labels = None if nodes is None else {POOL_LABEL: nodes}
    for row in source.map(**how, num_cpus=1, num_gpus=resources.num_gpus, label_selector=labels).iter_rows():
        yield uncarry(row["data"])


class _Actor:
    """One actor of a pool. It builds its worker at the first item, so that `carry` catches errors of building, too."""

    def __init__(self, work: type[Any], arguments: tuple[Any, ...]) -> None:
        self._work, self._arguments = work, arguments

    @cached_property
    def _worker(self) -> Callable[[Any], Any]:
        worker: Callable[[Any], Any] = self._work(*_resolved(self._arguments))
        return worker

    def __call__(self, row: _Row) -> _Row:
        return {"data": carry(lambda: self._worker(pickle.loads(row["data"])))}  # noqa: S301  made by `run_on_pool`


def _call(row: _Row, work: Callable[..., Any], arguments: tuple[Any, ...]) -> _Row:
    """Run one task of a pool."""
    return {"data": carry(lambda: work(pickle.loads(row["data"]), *_resolved(arguments)))}  # noqa: S301  made by `run_on_pool`


def _resolved(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Replace each object reference by its object."""
    import ray

    return tuple(ray.get(value) if isinstance(value, ray.ObjectRef) else value for value in arguments)


def carry(call: Callable[[], Any]) -> bytes:
    """Return the pickled result of `call`, or the pickled error of ours that it raises."""
    try:
        return pickle.dumps(call())
    except SynfundusError as error:
        return carry_error(error)


def carry_error(error: SynfundusError) -> bytes:
    """Return the pickled error, for `uncarry` to raise."""
    return pickle.dumps(error)


def uncarry(data: bytes) -> Any:
    """Return the result that was carried, or raise the error."""
    outcome = pickle.loads(data)  # noqa: S301  made by this program, in memory
    if isinstance(outcome, SynfundusError):
        raise outcome
    return outcome
