"""Timesteps of the training: pure functions of (seed, position), evenly spread, with the configured distribution."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

from support.spots import TINY, changed
from synfundus.diffusion.schedule import Schedule
from synfundus.diffusion.training import (
    stratified_uniform,
    timesteps_at,
)

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_stratified_numbers_are_a_pure_function_of_seed_and_position() -> None:
    whole = stratified_uniform(1, range(40), 8)
    assert whole.dtype == torch.float64
    assert torch.equal(stratified_uniform(1, range(13, 29), 8), whole[13:29])
    halves = [stratified_uniform(1, range(start, start + 4), 8) for start in (16, 20)]
    assert torch.equal(torch.cat(halves), whole[16:24])
    assert not torch.equal(stratified_uniform(2, range(40), 8), whole)


def test_stratified_numbers_are_uniform_and_batches_are_independent() -> None:
    batches = stratified_uniform(3, range(16 * 2000), 16).numpy().reshape(2000, 16)
    assert 0.0 <= batches.min() < 1e-3
    assert 1.0 - 1e-3 < batches.max() < 1.0
    # Each place in the batch is uniform, and independent of the previous batch.
    for place in (0, 7, 15):
        assert kstest(batches[:, place], "uniform").pvalue > 0.01
    assert abs(np.corrcoef(batches[1:, 0], batches[:-1, 0])[0, 1]) < 3 / math.sqrt(2000)


@pytest.mark.parametrize("batch_size", [2, 5, 16, 64])
@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_batch_and_each_workers_share_are_evenly_spread(batch_size: int, num_workers: int) -> None:
    """Steps of the golden ratio leave gaps of at most 2 / n on the circle; independent draws leave about ln(n) / n."""
    share = batch_size // num_workers
    for batch in range(20):
        start = batch * batch_size
        numbers = stratified_uniform(5, range(start, start + share), batch_size).sort().values.numpy()
        gaps = np.diff(np.append(numbers, numbers[0] + 1.0))
        assert gaps.max() <= 2.0 / share
        assert share == 1 or gaps.min() >= 0.38 / share


def test_the_mean_over_a_batch_varies_less_than_that_of_independent_draws() -> None:
    batches = stratified_uniform(3, range(16 * 1000), 16).numpy().reshape(1000, 16)
    for function in (np.square, lambda u: np.sin(np.pi * u)):
        independent = function(batches.ravel()).var() / 16
        assert function(batches).mean(axis=1).var() < independent / 5


def test_uniform_timesteps_are_equally_likely() -> None:
    schedule = Schedule(TINY.schedule)
    quantiles = (torch.arange(3000, dtype=torch.float64) + 0.5) / 3000
    assert torch.equal(timesteps_at(quantiles, TINY, schedule), torch.arange(1000).repeat_interleave(3))
    edges = torch.tensor([0.0, math.nextafter(1.0, 0.0)], dtype=torch.float64)
    assert timesteps_at(edges, TINY, schedule).tolist() == [0, 999]


@pytest.mark.parametrize(("mean", "std", "kind"), [(-1.2, 1.2, "cosine"), (0.4, 0.8, "linear"), (0.0, 1.0, "shifted")])
def test_log_normal_timesteps_have_the_moments_and_quantiles_of_their_noise_level(
    mean: float, std: float, kind: str
) -> None:
    schedule_config = {"kind": kind, "log_snr_shift": -1.4 if kind == "shifted" else 0.0}
    config = changed(timestep_sampling="log-normal", log_normal_mean=mean, log_normal_std=std, schedule=schedule_config)
    schedule = Schedule(config.schedule)
    quantiles = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    t = timesteps_at(quantiles, config, schedule)
    levels = (schedule.sigma_t / schedule.alpha_t).log()
    log_levels = levels[t].numpy()
    assert log_levels.mean() == pytest.approx(mean, abs=0.01)
    assert log_levels.std() == pytest.approx(std, abs=0.01)
    expected = norm.ppf((0.05, 0.25, 0.5, 0.75, 0.95), loc=mean, scale=std)
    np.testing.assert_allclose(np.quantile(log_levels, (0.05, 0.25, 0.5, 0.75, 0.95)), expected, atol=0.02)
    # The timestep with the nearest level is taken, not the one above or below.
    target = norm.ppf(quantiles[::997].numpy(), loc=mean, scale=std)
    nearest = np.abs(levels.numpy()[None] - target[:, None]).argmin(axis=1)
    np.testing.assert_array_equal(t[::997].numpy(), nearest)
    assert timesteps_at(torch.zeros(1, dtype=torch.float64), config, schedule).tolist() == [0]
