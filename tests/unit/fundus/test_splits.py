"""Splits by patient are a pure function of seed and patient."""

from collections.abc import Sequence

import numpy as np
import pytest
from pydantic import ValidationError

from synfundus.fundus.splits import (
    JUDGE_SHARE,
    MIN_LABELLED_PATIENTS,
    SPLITS,
    SplitFractions,
    assign_splits,
    split_of,
)

FRACTIONS = SplitFractions(train=0.7, validation=0.1, test=0.2)
MANY = [f"patient {i}" for i in range(6000)]
"""Patients of whom more than `MIN_LABELLED_PATIENTS` train."""


def assigned(patients: Sequence[str], own: Sequence[str | None] | None = None, seed: int = 0) -> list[str]:
    """Return the splits of labelled images."""
    return assign_splits(patients, own or [None] * len(patients), [True] * len(patients), seed, FRACTIONS)


def test_new_images_move_no_patient() -> None:
    some = [f"p{i % 50}" for i in range(100)]
    more = [f"q{i}" for i in range(70)]
    before, after = assigned(some, seed=3), assigned(more + some, seed=3)
    assert after[len(more) :] == before


def test_all_images_of_a_patient_lie_in_one_split() -> None:
    patients = [f"p{i % 37}" for i in range(400)]
    patients += [f"q{i % 4000}" for i in range(8000)]
    splits = assigned(patients)
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
    splits = assigned(patients, ["train", "test", "validation", None, None])
    assert splits[:4] == ["test", "test", "validation", "validation"]
    assert splits[4] == split_of("c", 0, FRACTIONS)


def test_splits_may_be_empty_and_fractions_must_add_up() -> None:
    everything = SplitFractions(train=1, validation=0, test=0)
    assert {split_of(str(i), 0, everything) for i in range(200)} == {SPLITS[0]}
    with pytest.raises(ValidationError, match="must add up to 1"):
        SplitFractions(train=0.7, validation=0.2, test=0.2)


def test_the_judge_takes_its_share_of_the_training_patients_and_of_no_others() -> None:
    """The tolerance is four standard deviations of the binomial distribution."""
    before, after = [split_of(patient, 0, FRACTIONS) for patient in MANY], assigned(MANY)
    moved = [new for old, new in zip(before, after, strict=True) if old == "train"]
    deviation = np.sqrt(len(moved) * JUDGE_SHARE * (1 - JUDGE_SHARE))
    assert abs(moved.count("judge") - len(moved) * JUDGE_SHARE) < 4 * deviation
    assert set(moved) == {"train", "judge"}
    assert [new for old, new in zip(before, after, strict=True) if old != "train"] == [
        old for old in before if old != "train"
    ]


def test_the_judges_patients_depend_on_seed_and_patient_alone() -> None:
    few, seed_1 = assigned(MANY[:3000]), assigned(MANY, seed=1)
    assert few == assigned(MANY)[:3000] == assigned(MANY[::-1])[::-1][:3000]
    both = [(a, b) for a, b in zip(assigned(MANY), seed_1, strict=True) if {a, b} <= {"train", "judge"}]
    agree = np.mean([a == b for a, b in both])
    assert agree == pytest.approx(JUDGE_SHARE**2 + (1 - JUDGE_SHARE) ** 2, abs=0.04)


@pytest.mark.parametrize("num_labelled", [MIN_LABELLED_PATIENTS - 1, MIN_LABELLED_PATIENTS])
def test_a_judge_is_set_aside_only_if_the_labelled_training_patients_suffice(num_labelled: int) -> None:
    """Two images of a patient count once; neither held-out patients nor patients without a label count."""
    training = [patient for patient in MANY if split_of(patient, 0, FRACTIONS) == "train"]
    rest = [patient for patient in MANY if split_of(patient, 0, FRACTIONS) != "train"]
    patients = training + training + rest
    labelled = [i < num_labelled for i in range(len(training))] * 2 + [True] * len(rest)
    splits = assign_splits(patients, [None] * len(patients), labelled, 0, FRACTIONS)
    assert ("judge" in splits) == (num_labelled >= MIN_LABELLED_PATIENTS)
    assert splits.count("train") + splits.count("judge") == 2 * len(training)


def test_the_judge_also_takes_patients_whom_the_source_trains_on() -> None:
    splits = assigned(MANY, ["train", "validation", "test"] * 2000)
    assert set(splits[::3]) == {"train", "judge"}
    assert (set(splits[1::3]), set(splits[2::3])) == ({"validation"}, {"test"})


def test_the_judges_patients_never_change_between_versions() -> None:
    judged = [patient for patient, split in zip(MANY, assigned(MANY), strict=True) if split == "judge"]
    assert judged[:5] == ["patient 0", "patient 14", "patient 17", "patient 21", "patient 25"]
