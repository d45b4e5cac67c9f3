"""Work on a pool of Ray: results and errors of ours come back unchanged."""

import pickle
from typing import Any

import numpy as np
import pytest

from support.pool_work import Doubler, doubled, share_of_sum
from synfundus.distributed.map import _Actor, _call, carry, carry_error, run_on_pool, uncarry
from synfundus.errors import AlreadyExistsError, FullDiskError, StorageError, SynfundusError, WrongInputError
from synfundus.resources import PoolResources

TWO = PoolResources(pool_size=2)


def _row(item: int) -> dict[str, bytes]:
    return {"data": pickle.dumps(item)}


def _results(item: int, unit: int) -> list[Any]:
    """Run one item on an actor and as a task, as Ray Data calls both."""
    rows = [_Actor(Doubler, (unit,))(_row(item)), _call(_row(item), doubled, (unit,))]
    return [pickle.loads(row["data"]) for row in rows]


def test_a_class_and_a_function_return_their_result() -> None:
    assert _results(3, 5) == [30, 30]


@pytest.mark.parametrize(("unit", "message"), [(1, "row 7"), (-1, "no such unit")])
def test_an_error_of_ours_is_carried_whether_building_or_calling_the_worker_raises_it(unit: int, message: str) -> None:
    for error in _results(7, unit):
        assert type(error) is WrongInputError
        assert str(error) == message


def test_a_defect_is_raised_and_not_carried() -> None:
    with pytest.raises(TypeError):
        _results(3, "x")  # type: ignore[arg-type]


def test_an_actor_builds_its_worker_once() -> None:
    built: list[int] = []

    class Counted(Doubler):
        def __init__(self, unit: int) -> None:
            built.append(unit)
            super().__init__(unit)

    actor = _Actor(Counted, (1,))
    for item in range(3):
        actor(_row(item))
    assert built == [1]


def test_an_empty_list_of_items_starts_no_pool() -> None:
    assert list(run_on_pool(Doubler, (1,), [], TWO)) == []


@pytest.mark.parametrize("error", [WrongInputError("row 3"), AlreadyExistsError("a exists"), StorageError("full")])
def test_a_carried_error_is_raised_with_its_type_and_text(error: SynfundusError) -> None:
    def fail() -> None:
        raise error

    for data in (carry(fail), carry_error(error)):
        with pytest.raises(type(error)) as caught:
            uncarry(data)
        assert type(caught.value) is type(error)
        assert str(caught.value) == str(error)
    assert uncarry(carry(lambda: 3)) == 3


def test_every_error_of_ours_survives_pickling() -> None:
    for kind in (*SynfundusError.__subclasses__(), FullDiskError, AlreadyExistsError):
        assert str(pickle.loads(pickle.dumps(kind("reason")))) == "reason"


@pytest.mark.usefixtures("ray_session")
def test_a_pool_of_ray_runs_classes_and_functions_with_shared_objects_and_raises_our_errors() -> None:
    import ray

    assert sorted(run_on_pool(Doubler, (5,), range(6), TWO)) == list(range(0, 60, 10))
    numbers_N = np.arange(1, 5)
    shares = run_on_pool(share_of_sum, (ray.put(numbers_N),), range(4), TWO)
    assert sorted(shares) == [0.1, 0.2, 0.3, 0.4]
    for work in (Doubler, doubled):
        with pytest.raises(WrongInputError, match=r"^row 7$"):
            list(run_on_pool(work, (1,), [7], TWO))
