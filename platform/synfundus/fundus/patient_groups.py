"""Patients who are known to be one person, joined before the split."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def join_patients(patients: Sequence[str], same_person: Iterable[tuple[int, int]]) -> list[str]:
    """Return one name per image: of all patients joined with its own, the name that is last in alphabetical order.

    Args:
        patients: name of the patient of each image.
        same_person: pairs of indices of images that show one person, whatever their patients are called.
    """
    names = sorted(set(patients))
    number_of = {name: number for number, name in enumerate(names)}
    pairs_P2 = np.array([(number_of[patients[i]], number_of[patients[j]]) for i, j in same_person]).reshape(-1, 2)
    ones_P = np.ones(len(pairs_P2), np.int8)
    graph = coo_array((ones_P, (pairs_P2[:, 0].astype(np.int64), pairs_P2[:, 1].astype(np.int64))), (len(names),) * 2)
    _, group_of = connected_components(graph, directed=False)
    joined = {int(group): name for group, name in zip(group_of, names, strict=True)}
    return [joined[int(group_of[number_of[name]])] for name in patients]
