"""The nearest of many references is found in blocks, mirrored or not, as an exhaustive search in float64 finds it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from synfundus.measures import nearest as module
from synfundus.measures.nearest import Reference, held_out_ratios, nearest, reference_on

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


def alone(references: Vectors) -> Reference:
    """Return references that are of one patient each."""
    return reference_on(references, np.arange(len(references)), "cpu")


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("num_patients", [1, 2, 5, 1000])
@pytest.mark.parametrize("num_references", [1, 15, 16, 17, 100])
def test_blocks_of_any_size_give_the_exhaustive_search(num_references: int, num_patients: int) -> None:
    queries, references = unit_vectors(30, 0), unit_vectors(num_references, 1)
    patient_N = np.random.default_rng(2).integers(num_patients, size=num_references)
    sides = [other[None].astype(np.float64) - queries[:, None] for other in (references, mirrored(references))]
    distance_2MN = np.linalg.norm(np.stack(sides), axis=3)
    found = nearest(queries, reference_on(references, patient_N, "cpu"))
    same_MN = patient_N[None] == patient_N[found.index][:, None]
    other_M = np.where(same_MN, np.inf, distance_2MN.min(0)).min(1)
    np.testing.assert_allclose(found.other_distance, other_M, atol=1e-6)
    np.testing.assert_allclose(found.ratio, found.distance / other_M, atol=2e-6)
    np.testing.assert_array_equal(found.index, distance_2MN.min(0).argmin(1))
    np.testing.assert_allclose(found.distance, distance_2MN.min((0, 2)), atol=1e-6)
    np.testing.assert_array_equal(found.mirrored, distance_2MN.min(2).argmin(0) == 1)


@pytest.mark.usefixtures("small_blocks")
def test_vectors_of_other_lengths_are_compared_by_distance_and_not_by_angle() -> None:
    """A blank image has a zero vector: it is as far from every unit vector, and at 0 from another blank one."""
    references = np.concatenate([unit_vectors(20, 1), np.zeros((1, 12), np.float32)])
    found = nearest(np.zeros((1, 12), np.float32), alone(references))
    assert (found.index[0], found.distance[0]) == (20, 0.0)


def test_a_copy_has_distance_zero_though_its_dot_product_is_rounded() -> None:
    references = unit_vectors(1000, 3)
    assert nearest(references, alone(references)).distance.max() == 0.0
    turned = nearest(mirrored(references), alone(references))
    assert turned.distance.max() == 0.0
    assert turned.mirrored.all()


def test_the_ratio_finds_a_copy_and_spares_an_image_that_is_alike_to_everybody() -> None:
    """Blurred photographs lie within 0.1 of each other, all others at a distance of about 1.4."""
    rng = np.random.default_rng(5)
    blurred = np.eye(12, dtype=np.float32)[:1] + 0.02 * rng.normal(size=(10, 12)).astype(np.float32)
    references = np.concatenate([blurred[:9], unit_vectors(50, 6)])
    copy = unit_vectors(50, 6)[:1] + 0.1 * unit_vectors(1, 7)
    found = nearest(np.concatenate([copy, blurred[9:]]), alone(references))
    assert found.distance[1] < found.distance[0]
    assert found.ratio[0] < 0.2
    assert found.ratio[1] > 0.6


def test_an_exact_copy_has_ratio_zero_though_another_patient_has_the_same_image() -> None:
    references = np.repeat(unit_vectors(3, 0), 2, axis=0)
    assert nearest(references, alone(references)).ratio.tolist() == [0.0] * 6


def test_without_another_patient_the_ratio_is_zero() -> None:
    references = unit_vectors(3, 0)
    found = nearest(unit_vectors(4, 1), reference_on(references, ["p"] * 3, "cpu"))
    assert np.isinf(found.other_distance).all()
    assert not found.ratio.any()


def test_read_only_references_are_shared_and_not_copied() -> None:
    references = unit_vectors(5, 0)
    references.flags.writeable = False
    assert alone(references).descriptors_ND.data_ptr() == references.ctypes.data


def test_at_most_so_many_held_out_photographs_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    references, held_out = alone(unit_vectors(20, 0)), unit_vectors(30, 1)
    assert sorted(held_out_ratios(held_out, references)) == sorted(nearest(held_out, references).ratio)
    monkeypatch.setattr(module, "MAX_HELD_OUT", 8)
    some = held_out_ratios(held_out, references)
    assert len(some) == 8
    assert set(some) <= set(nearest(held_out, references).ratio)
    np.testing.assert_array_equal(some, held_out_ratios(held_out, references))
