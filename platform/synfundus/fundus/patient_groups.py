"""Patients who are known to be one person, joined before the split."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def connected_groups(num_nodes: int, pairs: Iterable[tuple[int, int]]) -> NDArray[np.int32]:
    """Return the number of the group of each node. Nodes that a chain of pairs connects are one group.

    Args:
        pairs: pairs of nodes, each below `num_nodes`.
    """
    pairs_P2 = np.array(list(pairs), np.int64).reshape(-1, 2)
    ones_P = np.ones(len(pairs_P2), np.int8)
    graph = coo_array((ones_P, (pairs_P2[:, 0], pairs_P2[:, 1])), (num_nodes, num_nodes))
    _, group_of = connected_components(graph, directed=False)
    found: NDArray[np.int32] = group_of
    return found


def join_patients(patients: Sequence[str], same_person: Iterable[tuple[int, int]]) -> list[str]:
    """Return one name per image: of all patients joined with its own, the name that is last in alphabetical order.

    Args:
        patients: name of the patient of each image.
        same_person: pairs of indices of images that show one person, whatever their patients are called.
    """
    names = sorted(set(patients))
    number_of = {name: number for number, name in enumerate(names)}
    pairs = ((number_of[patients[i]], number_of[patients[j]]) for i, j in same_person)
    group_of = connected_groups(len(names), pairs)
    joined = {int(group): name for group, name in zip(group_of, names, strict=True)}
    return [joined[int(group_of[number_of[name]])] for name in patients]
