"""Compare two quantiles of a mean over training seeds: Satterthwaite's, after Hillis, and Cochran and Cox's.

    PYTHONPATH=tests python tests/benchmarks/seed_quantiles.py

The variance of a simulated mean has a part between S seeds, with S - 1 degrees of freedom, and a part between 1000
patients. Both are known but for chi-squared noise, so only the quantile is in question. Writes
tests/benchmarks/results/seed_quantiles_cpu2_202611.md.
"""

from collections.abc import Callable

import numpy as np
from report_table import keep, machine, table
from scipy.special import stdtrit

from synfundus.measures.crossed import CrossedMean
from synfundus.measures.inputs import Floats

NUM_MEANS = 200_000
NUM_PATIENTS = 1000
SEED_SHARES = (0.1, 0.3, 0.5, 0.7, 0.85, 0.95, 1.0)
"""True share of the variance that lies between seeds."""
LEVELS = {"0.05": 0.05, "0.05 / 6": 0.05 / 6, "0.05 / 12": 0.05 / 12}
"""Levels of a P value: of one comparison, and of the smallest of 6 and of 12 that Holm corrects."""
TEXT = """# Quantiles of a mean over training seeds

Command: `PYTHONPATH=tests python tests/benchmarks/seed_quantiles.py`

{machine} {num_means:,} simulated means in each row; {num_patients:,} patients.

Share of 95 % intervals that hold the true mean, and how many times as often as stated a P value falls below a level
although the true mean is 0.

{table}
"""


def satterthwaite(seed_part: Floats, patient_part: Floats, seed_freedom: float, tail: float) -> Floats:
    """Return the quantile with the degrees of freedom that follow the estimated parts of the variance."""
    variance = seed_part + patient_part
    freedom = variance**2 / (seed_part**2 / seed_freedom + patient_part**2 / (NUM_PATIENTS - 1))
    return -np.asarray(stdtrit(freedom, tail), np.float64)


def cochran_cox(seed_part: Floats, patient_part: Floats, seed_freedom: float, tail: float) -> Floats:
    """Return the mean of the two quantiles of Student's t, weighted by the estimated parts of the variance."""
    of_seeds, of_patients = -stdtrit([seed_freedom, NUM_PATIENTS - 1], tail)
    return np.asarray((seed_part * of_seeds + patient_part * of_patients) / (seed_part + patient_part), np.float64)


def check_product(seed_part: float, patient_part: float, seed_freedom: float) -> None:
    """Fail unless the product's 95 % quantile is the one that is measured here."""
    variance = seed_part + patient_part
    mean = CrossedMean(0.0, variance**0.5, NUM_PATIENTS - 1, seed_freedom, seed_part / variance)
    measured = cochran_cox(np.array([seed_part]), np.array([patient_part]), seed_freedom, 0.025)
    np.testing.assert_allclose(mean.quantile, measured[0])


def row(name: str, quantile: Callable[..., Floats], num_seeds: int, share: float) -> list[str]:
    """Simulate means whose true value is 0 and whose true variance is 1."""
    rng, seed_freedom = np.random.default_rng(0), num_seeds - 1
    error = np.abs(rng.normal(size=NUM_MEANS))
    seed_part = share * rng.chisquare(seed_freedom, NUM_MEANS) / seed_freedom
    patient_part = (1 - share) * rng.chisquare(NUM_PATIENTS - 1, NUM_MEANS) / (NUM_PATIENTS - 1)
    check_product(seed_part[0], patient_part[0], seed_freedom)
    statistic = error / np.sqrt(seed_part + patient_part)
    beyond = {
        level: float(np.mean(statistic > quantile(seed_part, patient_part, seed_freedom, level / 2)))
        for level in LEVELS.values()
    }
    times = [f"{share_beyond / level:.2f}" for level, share_beyond in beyond.items()]
    return [name, str(num_seeds), f"{share:.0%}", f"{1 - beyond[0.05]:.1%}", *times]


def main() -> None:
    quantiles = {"Satterthwaite": satterthwaite, "Cochran and Cox": cochran_cox}
    rows = [
        row(name, quantile, num_seeds, share)
        for num_seeds in (3, 5)
        for name, quantile in quantiles.items()
        for share in SEED_SHARES
    ]
    head = ["quantile", "seeds", "variance between seeds", "coverage", *(f"P < {level}" for level in LEVELS)]
    text = TEXT.format(
        machine=machine("numpy", "scipy"), num_means=NUM_MEANS, num_patients=NUM_PATIENTS, table=table(head, rows)
    )
    keep("seed_quantiles", text)


if __name__ == "__main__":
    main()
