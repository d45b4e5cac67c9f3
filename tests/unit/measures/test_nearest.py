"""The nearest of many references is found in blocks, mirrored or not, as an exhaustive search in float64 finds it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from synfundus.measures import nearest as module
from synfundus.measures.nearest import held_out_distances, nearest, reference_on

Vectors = NDArray[np.float32]


def unit_vectors(count: int, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(count, 12)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def mirrored(vectors: Vectors) -> Vectors:
    return np.concatenate([vectors[:, :6], -vectors[:, 6:]], axis=1)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUERY_BLOCK", 7)
    monkeypatch.setattr(module, "REFERENCE_BLOCK", {"cpu": 16})


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("num_references", [1, 15, 16, 17, 100])
def test_blocks_of_any_size_give_the_exhaustive_search(num_references: int) -> None:
    queries, references = unit_vectors(30, 0), unit_vectors(num_references, 1)
    sides = [other[None].astype(np.float64) - queries[:, None] for other in (references, mirrored(references))]
    distance_2MN = np.linalg.norm(np.stack(sides), axis=3)
    found = nearest(queries, reference_on(references, "cpu"))
    np.testing.assert_array_equal(found.index, distance_2MN.min(0).argmin(1))
    np.testing.assert_allclose(found.distance, distance_2MN.min((0, 2)), atol=1e-6)
    np.testing.assert_array_equal(found.mirrored, distance_2MN.min(2).argmin(0) == 1)


@pytest.mark.usefixtures("small_blocks")
def test_vectors_of_other_lengths_are_compared_by_distance_and_not_by_angle() -> None:
    """A blank image has a zero vector: it is as far from every unit vector, and at 0 from another blank one."""
    references = np.concatenate([unit_vectors(20, 1), np.zeros((1, 12), np.float32)])
    found = nearest(np.zeros((1, 12), np.float32), reference_on(references, "cpu"))
    assert (found.index[0], found.distance[0]) == (20, 0.0)


def test_a_copy_has_distance_zero_though_its_dot_product_is_rounded() -> None:
    references = unit_vectors(1000, 3)
    assert nearest(references, reference_on(references, "cpu")).distance.max() == 0.0
    turned = nearest(mirrored(references), reference_on(references, "cpu"))
    assert turned.distance.max() == 0.0
    assert turned.mirrored.all()


def test_read_only_references_are_shared_and_not_copied() -> None:
    references = unit_vectors(5, 0)
    references.flags.writeable = False
    assert reference_on(references, "cpu").data_ptr() == references.ctypes.data


def test_at_most_so_many_held_out_photographs_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    references, held_out = reference_on(unit_vectors(20, 0), "cpu"), unit_vectors(30, 1)
    assert sorted(held_out_distances(held_out, references)) == sorted(nearest(held_out, references).distance)
    monkeypatch.setattr(module, "MAX_HELD_OUT", 8)
    some = held_out_distances(held_out, references)
    assert len(some) == 8
    assert set(some) <= set(nearest(held_out, references).distance)
    np.testing.assert_array_equal(some, held_out_distances(held_out, references))
