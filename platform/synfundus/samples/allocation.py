"""Number of samples of each combination: balancing of rare values, and rounding to whole samples."""

import math
from collections.abc import Sequence

import numpy as np

from synfundus.labels import LABEL_BY_NAME, LABEL_NAMES
from synfundus.samples.combinations import Combination


def balance(combinations: Sequence[Combination]) -> list[Combination]:
    """Return the combinations with the weights of rare values raised.

    The new weights are the mean of 16 distributions, each of which balances one label: all values of that label are
    equally frequent, and the other labels are distributed as they occur together with each value. So every value of
    a label gets at least 1/16 of an equal share of all samples, unless it occurs in no combination. Balancing all
    labels at once has no solution if some findings exclude each other.
    """
    weights = np.array([c.weight for c in combinations])
    balanced = np.zeros(len(combinations))
    for k, name in enumerate(LABEL_NAMES):
        for value in range(LABEL_BY_NAME[name].max_value + 1):
            having = np.array([c.values[k] == value for c in combinations])
            if having.any():
                share = 1.0 / (LABEL_BY_NAME[name].max_value + 1)
                balanced += np.where(having, share * weights / weights[having].sum(), 0.0)
    if not balanced.any():
        return list(combinations)
    return [Combination(c.values, float(w)) for c, w in zip(combinations, balanced, strict=True) if w > 0]


def allocate(weights: Sequence[float], total: int) -> list[int]:
    """Return whole numbers proportional to `weights` that add up to `total`: largest remainders, ties to the first."""
    scale = total / math.fsum(weights)
    shares = [weight * scale for weight in weights]
    counts = [math.floor(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: (counts[i] - shares[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts
