"""Splits by patient are a pure function of seed and patient."""

import numpy as np
import pytest
from pydantic import ValidationError

from synfundus.fundus.splits import SPLITS, SplitFractions, assign_splits, split_of

FRACTIONS = SplitFractions(train=0.7, validation=0.1, test=0.2)


def test_new_images_move_no_patient() -> None:
    some = [f"p{i % 50}" for i in range(100)]
    more = [f"q{i}" for i in range(70)]
    before = assign_splits(some, [None] * len(some), 3, FRACTIONS)
    after = assign_splits(more + some, [None] * (len(more) + len(some)), 3, FRACTIONS)
    assert after[len(more) :] == before


def test_all_images_of_a_patient_lie_in_one_split() -> None:
    patients = [f"p{i % 37}" for i in range(400)]
    splits = assign_splits(patients, [None] * len(patients), 0, FRACTIONS)
    splits_of: dict[str, set[str]] = {}
    for patient, split in zip(patients, splits, strict=True):
        splits_of.setdefault(patient, set()).add(split)
    assert all(len(found) == 1 for found in splits_of.values())


def test_splits_have_the_stated_sizes() -> None:
    """The tolerance is four standard deviations of the binomial distribution."""
    n = 20_000
    splits = [split_of(f"patient {i}", 0, FRACTIONS) for i in range(n)]
    for name, fraction in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        assert abs(splits.count(name) - n * fraction) < 4 * np.sqrt(n * fraction * (1 - fraction))


def test_another_seed_is_another_independent_split() -> None:
    one, other = ([split_of(f"p{i}", seed, FRACTIONS) for i in range(5000)] for seed in (0, 1))
    agree = np.mean([a == b for a, b in zip(one, other, strict=True)])
    assert agree == pytest.approx(0.7**2 + 0.1**2 + 0.2**2, abs=0.03)


def test_the_split_of_a_patient_never_changes_between_versions() -> None:
    splits = [split_of(f"p{i}", 0, SplitFractions()) for i in range(7)]
    assert splits == ["train", "test", "train", "train", "test", "train", "validation"]


def test_the_most_held_out_split_of_the_source_applies_to_the_whole_patient() -> None:
    patients = ["a", "a", "b", "b", "c"]
    own = ["train", "test", "validation", None, None]
    splits = assign_splits(patients, own, 0, FRACTIONS)
    assert splits[:4] == ["test", "test", "validation", "validation"]
    assert splits[4] == split_of("c", 0, FRACTIONS)


def test_splits_may_be_empty_and_fractions_must_add_up() -> None:
    everything = SplitFractions(train=1, validation=0, test=0)
    assert {split_of(str(i), 0, everything) for i in range(200)} == {SPLITS[0]}
    with pytest.raises(ValidationError, match="must add up to 1"):
        SplitFractions(train=0.7, validation=0.2, test=0.2)
