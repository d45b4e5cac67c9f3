"""Fractions of the patients: nested, of the stated size, and a function of seed and patients alone."""

import math
from itertools import pairwise

import numpy as np
import pytest

from synfundus.transfer.subsets import nested_patients

PATIENTS = [f"patient-{i}" for i in range(237)]
FRACTIONS = (0.001, 0.01, 0.07, 0.1, 0.5, 0.99, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_smaller_fraction_is_a_subset_of_a_larger_one(seed: int) -> None:
    subsets = [nested_patients(PATIENTS, fraction, seed) for fraction in FRACTIONS]
    for smaller, larger in pairwise(subsets):
        assert smaller < larger
    assert subsets[-1] == set(PATIENTS)


@pytest.mark.parametrize(
    ("num_patients", "fraction", "size"), [(100, 0.07, 7), (100, 0.01, 1), (7, 0.01, 1), (7, 0.5, 4)]
)
def test_the_size_is_the_fraction_rounded_up(num_patients: int, fraction: float, size: int) -> None:
    assert len(nested_patients(PATIENTS[:num_patients], fraction, 3)) == size


def test_neither_order_nor_number_of_images_matters() -> None:
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(PATIENTS * 3).tolist()
    assert nested_patients(shuffled, 0.1, 1) == nested_patients(PATIENTS, 0.1, 1)


def test_every_patient_is_equally_likely_to_be_chosen() -> None:
    counts = dict.fromkeys(PATIENTS, 0)
    num_seeds = 400
    for seed in range(num_seeds):
        for patient in nested_patients(PATIENTS, 0.25, seed):
            counts[patient] += 1
    size = math.ceil(0.25 * len(PATIENTS))
    expected = num_seeds * size / len(PATIENTS)
    # 5 standard deviations of a binomial number; the chance that one of 237 patients lies outside is below 1e-3.
    deviation = math.sqrt(num_seeds * 0.25 * 0.75)
    assert all(abs(count - expected) < 5 * deviation for count in counts.values())
    assert sum(counts.values()) == num_seeds * size
