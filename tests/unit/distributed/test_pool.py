"""A pool's actor: results and our errors come back as they were."""

import pickle
from typing import Any

import numpy as np
import pytest

from synfundus.distributed.map import _Actor, run_on_pool
from synfundus.errors import SynfundusError, WrongInputError


class Doubler:
    def __init__(self, unit: int) -> None:
        if unit < 0:
            raise WrongInputError("no such unit")
        self.unit = unit

    def __call__(self, position: int) -> int:
        if position == 7:
            raise WrongInputError("row 7")
        return 2 * position * self.unit


def _result(actor: _Actor, position: int) -> Any:
    return pickle.loads(actor({"id": np.array([position])})["result"][0])


def test_a_result_comes_back() -> None:
    assert _result(_Actor(Doubler, (5,)), 3) == 30


@pytest.mark.parametrize(("unit", "said"), [(1, "row 7"), (-1, "no such unit")])
def test_an_error_of_ours_is_a_result(unit: int, said: str) -> None:
    """Of an item, or of building the worker: then each item says why."""
    error = _result(_Actor(Doubler, (unit,)), 7)
    assert type(error) is WrongInputError
    assert str(error) == said


def test_a_defect_is_not_hidden() -> None:
    with pytest.raises(TypeError):
        _Actor(Doubler, ("x",))


def test_nothing_to_do_starts_no_pool() -> None:
    assert list(run_on_pool(Doubler, (1,), 0, 2)) == []


def test_errors_survive_pickling() -> None:
    """With their kind and text: a worker's error crosses processes."""
    for kind in SynfundusError.__subclasses__():
        assert str(pickle.loads(pickle.dumps(kind("why")))) == "why"
