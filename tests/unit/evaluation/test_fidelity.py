"""Kernel and Fréchet distance equal torch-fidelity, torchmetrics and closed forms; the bias follows its expansion."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torchmetrics.image.kid import poly_mmd

from synfundus.evaluation import fidelity
from synfundus.evaluation.feature_sets import FeatureSet
from synfundus.evaluation.fidelity import effective_dimension, fit_gaussian, frechet_distance, kernel_distance


def _features(n: int, dim: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Return correlated, skewed, non-negative features, like those after a last activation."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(0, 1, (dim, dim)) / np.sqrt(dim)
    return np.asarray(np.maximum(rng.normal(shift, 1.0, (n, dim)) @ mixing + 0.3, 0), np.float32)


def _kid(x: np.ndarray, y: np.ndarray) -> float:
    """Return the kernel distance of images that each count as a patient."""
    return kernel_distance(FeatureSet.of_independent(x), FeatureSet.of_independent(y))


def _frechet(x: np.ndarray, y: np.ndarray) -> float:
    return frechet_distance(fit_gaussian(x), fit_gaussian(y))


@pytest.mark.parametrize(("n", "dim"), [(400, 32), (60, 128)])
def test_frechet_distance_equals_torch_fidelity(n: int, dim: int) -> None:
    x, y = _features(n, dim, 0), _features(n + 7, dim, 1, shift=0.2)
    statistics = [fid_features_to_statistics(torch.from_numpy(z)) for z in (x, y)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert _frechet(x, y) == pytest.approx(expected, rel=1e-3)


def test_frechet_distance_equals_torchmetrics() -> None:
    from torchmetrics.image.fid import _compute_fid

    x, y = _features(300, 24, 0), _features(300, 24, 1, shift=0.3)
    moments = [torch.from_numpy(m) for z in (x, y) for m in (z.astype(float).mean(0), np.cov(z.astype(float).T))]
    assert _frechet(x, y) == pytest.approx(float(_compute_fid(*moments)), rel=1e-3)


def test_frechet_distance_of_diagonal_gaussians_is_the_closed_form() -> None:
    """It is the sum of squared differences of means and of standard deviations; the samples have exact moments."""
    base = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]) * np.sqrt(3 / 2)  # covariance: the identity
    x, y = base * [2.0, 3.0], base * [1.0, 5.0] + [4.0, -1.0]
    assert _frechet(x, y) == pytest.approx(16 + 1 + (2 - 1) ** 2 + (3 - 5) ** 2, rel=1e-12)


def test_frechet_distance_of_a_set_to_itself_is_zero_also_when_singular() -> None:
    x = _features(20, 64, 3)
    assert _frechet(x, x) == pytest.approx(0.0, abs=1e-9)
    assert _frechet(x, x[::-1] + 1.0) == pytest.approx(64.0, rel=1e-6)


def test_kernel_distance_equals_torch_fidelity_and_torchmetrics_on_one_subset_of_full_size() -> None:
    x, y = _features(150, 64, 0), _features(150, 64, 1, shift=0.4)
    fidelity_kid = kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=150, verbose=False
    )["kernel_inception_distance_mean"]
    metrics_kid = float(poly_mmd(torch.from_numpy(x).double(), torch.from_numpy(y).double()))
    assert _kid(x, y) == pytest.approx(fidelity_kid, rel=1e-3)
    assert _kid(x, y) == pytest.approx(metrics_kid, rel=1e-3)


def test_kernel_distance_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    values = [_kid(rng.normal(0, 1, (12, 4)), rng.normal(0, 1, (20, 4))) for _ in range(2000)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0


def test_kernel_distance_does_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = _features(50, 8, 0), _features(61, 8, 1)
    whole = _kid(x, y)
    monkeypatch.setattr(fidelity, "CHUNK_ROWS", 7)
    assert _kid(x, y) == pytest.approx(whole, rel=1e-12)


def test_kernel_distance_is_unbiased_where_photographs_of_a_patient_are_alike() -> None:
    """Pairs of one patient would raise it: with one to three photographs each, half of the variance shared, by 0.18."""
    rng = np.random.default_rng(1)

    def photographs(num_patients: int) -> FeatureSet:
        patients = np.arange(num_patients).repeat(rng.integers(1, 4, num_patients))
        shared = rng.normal(0, 1, (num_patients, 4))[patients]
        order = rng.permutation(len(patients))
        features = (shared + rng.normal(0, 1, shared.shape)) / 2**0.5
        return FeatureSet(features[order].astype(np.float32), [f"p{patient}" for patient in patients[order]])

    values = []
    for _ in range(2000):
        made = FeatureSet.of_independent(rng.normal(0, 1, (20, 4)).astype(np.float32))
        values.append(kernel_distance(photographs(12), made))
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))


def test_kernel_distance_is_the_mean_over_pairs_of_two_patients() -> None:
    x, y = _features(7, 3, 0), _features(4, 3, 1)
    of_x, of_y = list("abacbca"), list("zyzz")

    def mean(a: np.ndarray, b: np.ndarray, of_a: list[str], of_b: list[str]) -> float:
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if of_a[i] != of_b[j]]
        return float(np.mean([(float(a[i].astype(float) @ b[j].astype(float)) / 3 + 1) ** 3 for i, j in pairs]))

    expected = mean(x, x, of_x, of_x) + mean(y, y, of_y, of_y) - 2 * mean(x, y, of_x, of_y)
    assert kernel_distance(FeatureSet(x, of_x), FeatureSet(y, of_y)) == pytest.approx(expected, rel=1e-9)


def _exact_covariance(value_D: np.ndarray) -> np.ndarray:
    """Return features whose covariance is exactly diagonal with these eigenvalues."""
    x = np.concatenate([np.diag(np.sqrt(value_D)), -np.diag(np.sqrt(value_D))])
    return np.asarray(x * np.sqrt((len(x) - 1) / 2))


def test_effective_dimension_is_the_number_of_equal_eigenvalues() -> None:
    assert effective_dimension(_exact_covariance(np.full(7, 3.0))) == pytest.approx(7.0, rel=1e-9)
    constant_too = np.concatenate([_exact_covariance(np.full(7, 3.0)), np.ones((14, 30))], axis=1)
    assert effective_dimension(constant_too) == pytest.approx(7.0, rel=1e-9)
    assert effective_dimension(np.ones((5, 4))) == 0.0


def test_effective_dimension_of_two_eigenvalues_is_the_closed_form() -> None:
    """For eigenvalues a and b it is (a + b + 4 a b / (a + b)) / (a + b)."""
    a, b = 5.0, 0.5
    expected = (a + b + 4 * a * b / (a + b)) / (a + b)
    assert effective_dimension(_exact_covariance(np.array([a, b]))) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "value_D",
    [np.ones(24), np.arange(1, 200.0) ** -1.5, np.arange(1, 300.0) ** -2.0, np.exp(-np.arange(120) / 10)],
    ids=["white", "power 1.5", "power 2", "exponential"],
)
def test_bias_of_the_frechet_distance_follows_the_effective_dimension(value_D: np.ndarray) -> None:
    """Two sets of one Gaussian have a mean distance of T ((d + 1) / (2 n) + 2 / n); checked at n = 10 d and 20 d.

    The participation ratio T^2 / sum l_i^2 would not do: it is 5 where d is 49, for eigenvalues i^-1.5.
    """
    pairs = value_D[:, None] * value_D / (value_D[:, None] + value_D)
    d = 2 * pairs.sum() / value_D.sum()
    rng = np.random.default_rng(0)
    for n in (round(10 * d), round(20 * d)):
        draws = rng.normal(size=(8, 2, n, len(value_D))) * np.sqrt(value_D)
        mean = np.mean([_frechet(x, y) for x, y in draws])
        assert mean == pytest.approx(value_D.sum() * ((d + 1) / (2 * n) + 2 / n), rel=0.12)
