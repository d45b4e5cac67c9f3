"""Correction of P values for the number of comparisons in a stated family."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the P values of a family after Holm's correction (Holm 1979, Scand. J. Stat. 6:65), in the same order.

    A corrected value below 0.05 is significant while the chance of any false finding in the family stays below 5 %,
    however the comparisons depend on each other. None (not measurable) stays None and does not count: no hypothesis was
    tested.
    """
    tested = [place for place, p in enumerate(p_values) if p is not None]
    p = np.array([p_values[place] for place in tested], np.float64)
    if len(p) and (np.isnan(p).any() or p.min() < 0.0 or p.max() > 1.0):
        raise ValueError("P values must lie in [0, 1]")
    order = np.argsort(p, kind="stable")
    corrected = np.minimum(np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))), 1.0)
    out: list[float | None] = [None] * len(p_values)
    for rank, place in enumerate(order):
        out[tested[place]] = float(corrected[rank])
    return out
