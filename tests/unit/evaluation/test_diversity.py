"""Precision, recall, density and coverage equal prdc and torch-fidelity, and are right for constructed sets."""

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch_fidelity.metric_prc import calculate_precision_recall_full

from synfundus.evaluation import diversity
from synfundus.evaluation.diversity import neighbour_radius, overlap


def _pair(n: int = 120, m: int = 90, dim: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(0, 1, (n, dim)).astype(np.float32), rng.normal(0.5, 0.7, (m, dim)).astype(np.float32)


@pytest.mark.parametrize("k", [1, 5])
def test_all_four_equal_prdc(k: int) -> None:
    reference, candidate = _pair()
    expected = compute_prdc(reference.astype(float), candidate.astype(float), k)
    found = overlap(reference, candidate, k)
    for name in ("precision", "recall", "density", "coverage"):
        assert 0 < expected[name] != 1
        assert getattr(found, name) == pytest.approx(expected[name], rel=1e-3), name


def test_precision_and_recall_equal_torch_fidelity() -> None:
    reference, candidate = _pair(100, 100)
    expected = calculate_precision_recall_full(
        torch.from_numpy(candidate).double(), torch.from_numpy(reference).double(), neighborhood=5
    )
    found = overlap(reference, candidate, 5)
    assert (found.precision, found.recall) == pytest.approx(expected, rel=1e-3)


def test_result_does_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, candidate = _pair()
    whole = overlap(reference, candidate, 5)
    monkeypatch.setattr(diversity, "CHUNK_ROWS", 11)
    assert overlap(reference, candidate, 5) == whole


def test_a_missing_mode_lowers_recall_and_coverage_but_not_precision() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(0, 0.1, (60, 3)), rng.normal(50, 0.1, (60, 3))
    found = overlap(np.r_[one, other], rng.normal(0, 0.05, (120, 3)), 5)
    assert found.precision > 0.95
    assert found.recall <= 0.5
    assert found.coverage <= 0.5


def test_radius_of_points_on_a_line_is_the_distance_to_the_kth_neighbour() -> None:
    x = np.array([[0.0], [1.0], [3.0], [7.0]])
    assert neighbour_radius(x, 1) == pytest.approx([1, 1, 2, 4])
    assert neighbour_radius(x, 2) == pytest.approx([3, 2, 3, 6])


def test_copies_of_the_reference_lie_in_its_neighbourhoods_even_of_radius_zero() -> None:
    x = np.repeat(np.random.default_rng(2).normal(0, 1, (10, 4)), 6, axis=0)
    found = overlap(x, x, 5)
    assert found.precision == found.recall == found.coverage == 1.0
