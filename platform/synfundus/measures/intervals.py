"""95 % intervals: Wilson's and the exact one for shares, the bootstrap of patients for everything else.

- Shares: Wilson's interval at the effective n of Rao & Scott 1992 (doi 10.2307/2532311).
- Exact: Clopper & Pearson 1934 (doi 10.2307/2331986). It covers at least 95 % at every share and n.
- Bootstrap: whole groups (patients) are resampled, with a fixed seed.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import betaincinv, expit, logit, ndtri

from synfundus.measures.inputs import Floats, Groups, group_index

NUM_RESAMPLES = 1000
SEED = 0
BLOCK_NUMBERS = 2**18
"""Largest number of bootstrap weights in memory at once; 8 bytes each, and about five copies."""
Z_95 = float(ndtri(0.975))


def wilson(p: float, n: float) -> tuple[float, float]:
    """Return Wilson's interval of a share `p` in [0, 1] of `n`."""
    centre = p + Z_95**2 / (2 * n)
    width = Z_95 * np.sqrt(p * (1 - p) / n + Z_95**2 / (4 * n * n))
    scale = 1 + Z_95**2 / n
    # The bound is exactly 0 at p = 0 and 1 at p = 1, but the formula would be off by its rounding.
    low = 0.0 if p == 0.0 else float((centre - width) / scale)
    high = 1.0 if p == 1.0 else float((centre + width) / scale)
    return low, high


def exact_interval(count: float, n: float) -> tuple[float, float]:
    """Return the exact interval of a share, `count` of `n` in [0, n]; `n` may be an effective number."""
    low = 0.0 if count <= 0.0 else float(betaincinv(count, n - count + 1.0, 0.025))
    high = 1.0 if count >= n else float(betaincinv(count + 1.0, n - count, 0.975))
    return low, high


def exact_upper_bound(count: float, n: float) -> float:
    """Return the exact one-sided 95 % upper bound of a share, `count` of `n` > 0; about 3 / n at a count of 0."""
    return 1.0 if count >= n else float(betaincinv(count + 1.0, n - count, 0.95))


def effective_n(x: Floats, groups: Groups) -> float:
    """Return the number of independent images that would give the mean of 0/1 values `x` the same variance."""
    if groups is None:
        return float(len(x))
    group = group_index(groups, len(x))
    num_groups, n, p = int(group.max()) + 1, len(x), x.mean()
    if num_groups < 2 or p in (0.0, 1.0):
        return float(num_groups)
    residual = np.bincount(group, x - p)
    design_effect = num_groups / (num_groups - 1) * (residual @ residual) / (n * p * (1.0 - p))
    return float(n / max(design_effect, 1.0))


def bootstrap(statistic: Callable[[Floats], Floats], num_groups: int, rows_per_block: int = 1) -> Floats:
    """Return `statistic` of each bootstrap sample, NaN if it does not exist.

    Args:
        statistic: maps weights (R, G) of the groups in R samples to R values.
        rows_per_block: numbers that the statistic holds for each sample; bounds its memory.
    """
    return np.concatenate([statistic(w_RG) for w_RG in _resample_weights(num_groups, rows_per_block)])


def _resample_weights(num_groups: int, rows_per_block: int) -> Iterator[Floats]:
    """Yield how often each group is drawn in each of `NUM_RESAMPLES` bootstrap samples, in blocks (R, G)."""
    rng = np.random.default_rng(SEED)
    block = max(1, min(NUM_RESAMPLES, BLOCK_NUMBERS // max(rows_per_block, num_groups)))
    for start in range(0, NUM_RESAMPLES, block):
        size = min(block, NUM_RESAMPLES - start)
        drawn = rng.integers(0, num_groups, (size, num_groups)) + np.arange(size)[:, None] * num_groups
        yield np.bincount(drawn.ravel(), minlength=size * num_groups).reshape(size, num_groups).astype(np.float64)


def logit_interval(value: float, standard_error: float, quantile: float, lower_end: float = 0.0) -> tuple[float, float]:
    """Return the interval of a value in (`lower_end`, 1), on the logit scale of that range.

    Args:
        value: the estimate.
        standard_error: standard deviation of the estimate.
        quantile: two-sided 95 % quantile, 1.96 or that of Student's t.
        lower_end: smallest value of the measure.
    """
    length = 1.0 - lower_end
    share = (value - lower_end) / length
    width = quantile * standard_error / length / (share * (1.0 - share))
    low, high = (lower_end + length * expit(logit(share) + sign * width) for sign in (-1.0, 1.0))
    return float(low), float(high)


def stretched_logit_interval(
    value: float, standard_error: float, quantile: float, logit_quantile: float, lower_end: float = 0.0
) -> tuple[float, float]:
    """Return the logit interval up to `logit_quantile`; beyond it, both ends move on in proportion to the quantile.

    The scale makes an interval as skewed as the distribution of the estimate. The quantile of three seeds is large for
    another reason: their variance is uncertain. On the logit scale it would skew the interval of an AUC near 1 far more
    than the estimate is. The rule is our own; docs/statistics.md has its coverage in simulations.

    Args:
        quantile: two-sided quantile, at least 0.
        logit_quantile: quantile up to which the scale applies, above 0; may be infinite.

    See `logit_interval` for the other arguments.
    """
    at_most = min(quantile, logit_quantile)
    low, high = logit_interval(value, standard_error, at_most, lower_end)
    stretch = quantile / at_most if at_most > 0.0 else 1.0
    return max(value - stretch * (value - low), lower_end), min(value + stretch * (high - value), 1.0)


def percentile_interval(values: Floats) -> tuple[float, float]:
    """Return the 2.5th and the 97.5th percentile of bootstrap values."""
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)
