"""Choose which of several copies of one photograph is accepted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """Properties of an image that decide which of two copies is accepted."""

    name: str
    field_px: int
    """Diameter of the field of view in pixels of the original."""
    num_known: int
    """Number of labels that an expert gave."""

    @property
    def rank(self) -> tuple[int, int, str]:
        """Sort key, best first: the larger field, then more known labels, then the name."""
        return (-self.field_px, -self.num_known, self.name)


def choose(entries: Mapping[int, Entry], copies: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Return key of a rejected image -> key of the accepted image that it is a copy of.

    An image is rejected only if it is itself a copy of an accepted one. So in a chain of three whose ends differ, both
    ends stay.

    Args:
        copies: pairs of keys of `entries` that are the same photograph, in any order.
    """
    neighbours: dict[int, set[int]] = {}
    for i, j in copies:
        neighbours.setdefault(i, set()).add(j)
        neighbours.setdefault(j, set()).add(i)
    rejected: dict[int, int] = {}
    accepted: set[int] = set()
    for i in sorted(neighbours, key=lambda k: entries[k].rank):
        twins = [j for j in neighbours[i] if j in accepted]
        if twins:
            rejected[i] = min(twins, key=lambda k: entries[k].rank)
        else:
            accepted.add(i)
    return rejected
