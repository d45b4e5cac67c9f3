"""Two-sample tests equal scipy's on independent images and keep their level on several images of a patient."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import ks_2samp, permutation_test, ttest_ind

from synfundus.measures import two_samples
from synfundus.measures.intervals import effective_n
from synfundus.measures.two_samples import kolmogorov_smirnov, mean_difference


def test_distance_and_p_value_of_independent_images_equal_scipy() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=80), rng.normal(0.4, 1.2, size=130)
    result, expected = kolmogorov_smirnov(x, y), ks_2samp(x, y)
    assert (result.distance, result.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    assert (result.num_first, result.num_second) == (80, 130)


def test_mean_difference_of_independent_images_is_welch_s() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.gamma(2, 1, 40), rng.gamma(3, 1, 70)
    difference, expected = mean_difference(x, y), ttest_ind(x, y, equal_var=False)
    interval = expected.confidence_interval()
    assert difference.measure.interval == pytest.approx((x.mean() - y.mean(), interval.low, interval.high), rel=1e-9)
    assert difference.patient_freedom == pytest.approx(expected.df, rel=1e-9)


def test_variance_between_patients_is_the_clustered_one_of_statsmodels() -> None:
    rng = np.random.default_rng(6)
    patients = rng.integers(0, 25, 80)
    x, y = rng.normal(size=25)[patients] + rng.normal(size=80), rng.normal(size=60)
    clusters = {"groups": patients}
    of_mean = sm.OLS(x, np.ones(80)).fit(cov_type="cluster", cov_kwds=clusters).cov_params()[0, 0]
    error = mean_difference(x, y, patients).standard_error
    assert error == pytest.approx(np.sqrt(of_mean + y.var(ddof=1) / 60), rel=1e-9)
    found = x > 0.5
    of_share = sm.OLS(found.astype(float), np.ones(80)).fit(cov_type="cluster", cov_kwds=clusters).cov_params()[0, 0]
    share = found.mean()
    assert share * (1 - share) / effective_n(found.astype(float), patients) == pytest.approx(of_share, rel=1e-9)


def test_permutation_p_value_equals_scipy() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(0.0, 1.0, 9), rng.normal(1.0, 2.0, 8)

    def statistic(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        variance = a.var(axis=axis, ddof=1) / a.shape[axis] + b.var(axis=axis, ddof=1) / b.shape[axis]
        return np.asarray(np.abs(a.mean(axis=axis) - b.mean(axis=axis)) / np.sqrt(variance))

    # There are 24,310 ways to divide the images, so scipy tries all of them.
    exact = permutation_test((x, y), statistic, alternative="greater", n_resamples=100_000, vectorized=True)
    assert mean_difference(x, y).p_value == pytest.approx(exact.pvalue, abs=0.02)


@pytest.mark.parametrize("images_per_patient", [1, 3])
def test_equal_distributions_are_told_apart_in_5_percent_at_most(
    images_per_patient: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photographs: several alike ones of a patient, samples: independent ones; both from one distribution."""
    monkeypatch.setattr(two_samples, "NUM_PERMUTATIONS", 99)
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(30), images_per_patient)
    found = {"mean": 0, "distribution": 0, "without patients": 0}
    for _ in range(400):
        x = np.sqrt(0.8) * rng.normal(size=30)[patients] + np.sqrt(0.2) * rng.normal(size=len(patients))
        y = rng.normal(size=80)
        found["mean"] += (mean_difference(x, y, patients).p_value or 0.0) < 0.05
        found["distribution"] += (kolmogorov_smirnov(x, y, patients).p_value or 0.0) < 0.05
        found["without patients"] += ks_2samp(x, y).pvalue < 0.05
    assert found["mean"] <= 0.075 * 400
    assert found["distribution"] <= 0.075 * 400
    if images_per_patient == 3:
        assert found["without patients"] > 0.1 * 400


def test_different_variances_alone_are_no_difference_of_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The permutation is studentised: a plain one finds a difference in far more than 5 % of these sets."""
    monkeypatch.setattr(two_samples, "NUM_PERMUTATIONS", 99)
    rng = np.random.default_rng(4)
    found = sum((mean_difference(rng.normal(0, 3, 15), rng.normal(0, 1, 60)).p_value or 0.0) < 0.05 for _ in range(400))
    assert found <= 0.08 * 400


def test_a_shifted_mean_and_a_wider_distribution_are_found() -> None:
    rng = np.random.default_rng(5)
    assert (mean_difference(rng.normal(0, 1, 100), rng.normal(0.8, 1, 100)).p_value or 1.0) < 0.001
    assert (kolmogorov_smirnov(rng.normal(0, 1, 300), rng.normal(0, 2, 300)).p_value or 1.0) < 0.001


def test_results_are_the_same_on_every_call() -> None:
    x, y, patients = np.arange(20.0), np.arange(30.0) + 3, np.repeat(np.arange(10), 2)
    assert mean_difference(x, y, patients) == mean_difference(x, y, patients)
    assert kolmogorov_smirnov(x, y, patients) == kolmogorov_smirnov(x, y, patients)


def test_too_few_patients_are_not_measurable() -> None:
    assert kolmogorov_smirnov([1.0, 2.0], [1.0, 3.0], ["a", "a"]).reason == "1 patients; needs 2 of each set"
    assert kolmogorov_smirnov([], [1.0, 3.0]).reason == "0 patients; needs 2 of each set"
    assert mean_difference([1.0, 2.0], [1.0, 3.0], ["a", "a"]).measure.reason == "1 patients; needs 2 of each set"
    assert mean_difference([], [1.0]).measure.reason == "no image in a set"
    assert mean_difference([1.0, 1.0], [1.0, 1.0]).measure.reason == "the values do not vary"
