"""Steps to 95 % of a final validation AUC: whether one way of training is faster than another."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import stdtrit

from synfundus.measures.measure import Measure
from synfundus.transfer.records import CurvePoint

SHARE = 0.95
"""Share of the final AUC that counts as converged."""
Curve = Sequence[CurvePoint]


def steps_to(curve: Curve, final_auc: float) -> int | None:
    """Return the first measured step at which a curve reaches 95 % of `final_auc`; None if it never does."""
    return next((point.step for point in curve if point.auc >= SHARE * final_auc), None)


def own_steps(curve: Curve) -> int:
    """Return the first measured step at which a curve reaches 95 % of its own last AUC."""
    found = steps_to(curve, curve[-1].auc)
    assert found is not None  # the last point reaches it
    return found


def steps_difference(curves: Mapping[int, Curve], references: Mapping[int, Curve]) -> Measure:
    """Return by how many steps an arm reaches 95 % of the reference's final AUC later than the reference does.

    The value is the mean over the seeds of both, with Student's t interval; n is the number of seeds. It is not
    measurable with one seed, if a model never reaches that AUC, or if all seeds give the same number: steps lie on the
    grid of the measurements, so equal ones say no more than that the seeds differ by less than the grid.
    """
    seeds = sorted(curves.keys() & references.keys())
    differences, never = [], 0
    for seed in seeds:
        reached = steps_to(curves[seed], references[seed][-1].auc)
        if reached is None:
            never += 1
        else:
            differences.append(reached - own_steps(references[seed]))
    if never:
        return Measure.not_measurable(f"{never} of {len(seeds)} models never reach that AUC", len(seeds))
    if len(seeds) < 2:
        return Measure.not_measurable(f"needs 2 seeds, has {len(seeds)}", len(seeds))
    mean, deviation = float(np.mean(differences)), float(np.std(differences, ddof=1))
    if deviation == 0.0:
        reason = f"{mean:+g} steps for each of {len(seeds)} seeds; measurements are too far apart for an interval"
        return Measure.not_measurable(reason, len(seeds))
    width = float(stdtrit(len(seeds) - 1, 0.975)) * deviation / len(seeds) ** 0.5
    return Measure.measured(mean, mean - width, mean + width, len(seeds))
