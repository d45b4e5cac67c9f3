"""Planned comparisons follow from the arms alone: each question once, controls as references only."""

import pytest

from support.transfer_example import ARMS
from synfundus.transfer.config import DEFAULT_ARMS
from synfundus.transfer.contrasts import describe_arm, distinct_arms, planned_contrasts
from synfundus.transfer.results import ArmSummary

DEFAULT = distinct_arms(
    ArmSummary(name=name, start=arm.start, train=arm.train, added_samples=arm.added_samples)
    for name, arm in DEFAULT_ARMS.items()
)


def test_the_default_grid_asks_each_question_of_the_issue_once() -> None:
    found = [(contrast.arm, contrast.reference) for contrast in planned_contrasts(DEFAULT).values()]
    assert sorted(found) == sorted(
        [
            ("synthetic", "synthetic-shuffled"),
            ("synthetic", "real"),
            ("real-plus-0.5", "real"),
            ("real-plus-1", "real"),
            ("real-plus-2", "real"),
            ("real-plus-5", "real"),
            ("pretrained", "pretrained-shuffled"),
            ("pretrained", "real"),
            ("pretrained", "imagenet"),
            ("imagenet", "real"),
        ]
    )
    questions = [contrast.question for contrast in planned_contrasts(DEFAULT).values()]
    assert len(set(questions)) == len(questions)


def test_two_names_of_one_way_to_train_are_one_arm() -> None:
    assert DEFAULT_ARMS.keys() - DEFAULT.keys() == {"scratch"}
    weights = [
        ArmSummary(name=name, start="weights", train="photographs", added_samples=None)
        for name in ("imagenet", "retina")
    ]
    assert list(distinct_arms(weights)) == ["imagenet", "retina"]
    contrasts = planned_contrasts(DEFAULT | distinct_arms(weights)).values()
    assert [c.reference for c in contrasts if c.arm == "pretrained"] == [
        "pretrained-shuffled",
        "real",
        "imagenet",
        "retina",
    ]


@pytest.mark.parametrize("missing", [arm.name for arm in ARMS if arm.name != "real"])
def test_a_comparison_whose_arm_is_missing_is_not_planned(missing: str) -> None:
    contrasts = planned_contrasts(distinct_arms(arm for arm in ARMS if arm.name != missing))
    assert all(missing not in (contrast.arm, contrast.reference) for contrast in contrasts.values())
    assert all(contrast.arm != contrast.reference for contrast in contrasts.values())


def test_every_distinct_arm_has_a_title_of_its_own_and_says_what_it_is_trained_on() -> None:
    described = [describe_arm(arm) for arm in DEFAULT.values()]
    assert len({arm.title for arm in described}) == len(described)
    for arm in described:
        assert "trained on" in arm.training
        assert arm.training.endswith(".")
