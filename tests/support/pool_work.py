"""Work for a pool of Ray. It stands in a module of its own, because Ray's workers import it by name."""

from typing import Any

from synfundus.errors import WrongInputError


class Doubler:
    """Work of a class: doubles an item in a unit."""

    def __init__(self, unit: int) -> None:
        if unit < 0:
            raise WrongInputError("no such unit")
        self.unit = unit

    def __call__(self, item: int) -> int:
        if item == 7:
            raise WrongInputError("row 7")
        return 2 * item * self.unit


def doubled(item: int, unit: int) -> int:
    """Work of a function: does the same."""
    return Doubler(unit)(item)


def share_of_sum(item: int, numbers_N: Any) -> float:
    return float(numbers_N[item] / numbers_N.sum())
