"""Planned comparisons follow from the arms alone: each question once, controls as references only."""

from typing import Any

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


def arm(name: str, **settings: Any) -> ArmSummary:
    return ArmSummary.model_validate(
        {"name": name, "start": "scratch", "train": "photographs", "added_samples": None, **settings}
    )


def planned(*arms: ArmSummary) -> dict[tuple[str, str], str]:
    """Return the question of each planned pair of arm and reference."""
    contrasts = planned_contrasts(distinct_arms(arms)).values()
    return {(contrast.arm, contrast.reference): contrast.question for contrast in contrasts}


REAL, PLUS, SYNTHETIC = arm("real"), arm("plus", added_samples=1.0), arm("synthetic", train="samples")
PRETRAINED, PRETRAINED_SHUFFLED = arm("pretrained", start="samples"), arm("pretrained-shuffled", start="shuffled")
FILE = {"start": "weights", "weights": {"resnet10t": "aa"}}
IMAGENET = arm("imagenet", **FILE)


@pytest.mark.parametrize(
    ("added", "references"),
    [
        (arm("weights-plus", **FILE, added_samples=1.0), {"imagenet", "plus"}),
        (arm("other-file-plus", start="weights", weights={"resnet10t": "bb"}, added_samples=1.0), {"plus"}),
        (arm("weights-samples", **FILE, train="samples"), {"imagenet", "synthetic"}),
        (arm("weights-shuffled", **FILE, train="shuffled"), set()),
        (arm("pretrained-plus", start="samples", added_samples=1.0), {"pretrained", "plus"}),
        (arm("pretrained-plus-5", start="samples", added_samples=5.0), {"pretrained"}),
        (arm("shuffled-plus", start="shuffled", added_samples=1.0), set()),
    ],
)
def test_the_reference_of_an_arm_differs_in_one_factor(added: ArmSummary, references: set[str]) -> None:
    before = (REAL, PLUS, SYNTHETIC, PRETRAINED, PRETRAINED_SHUFFLED, IMAGENET)
    old, new = planned(*before), planned(*before, added)
    found = {pair: question for pair, question in new.items() if pair not in old}
    assert found.keys() == {(added.name, reference) for reference in references}
    assert new == old | found, "the other questions stay"
    assert len(set(new.values())) == len(new)


def test_controls_of_combined_arms_are_their_references() -> None:
    pair = arm("pretrained-plus", start="samples", added_samples=1.0)
    control = arm("shuffled-plus", start="shuffled", added_samples=1.0)
    assert planned(pair, control, REAL) == {
        ("pretrained-plus", "shuffled-plus"): "Does pre-training use the labels of the samples, or only their look,"
        " before training on photographs and 1 times as many samples?"
    }
    pair, control = arm("a", **FILE, train="samples"), arm("b", **FILE, train="shuffled")
    assert planned(pair, control, REAL) == {
        ("a", "b"): "Do the labels of the samples carry information, with the initial weights b?"
    }


def test_arms_of_other_architectures_are_different_arms_that_are_compared_once() -> None:
    few, all_of_them = arm("real", architectures=["resnet10t"]), arm("scratch")
    arms = distinct_arms([few, all_of_them, arm("again", architectures=["resnet10t"])])
    assert list(arms) == ["real", "scratch"]
    assert len({describe_arm(found).title for found in arms.values()}) == 2
    assert planned(few, all_of_them, PRETRAINED).keys() == {("pretrained", "scratch")}
    other = arm("scratch", architectures=["vit_tiny"])
    assert planned(few, other, PRETRAINED).keys() == {("pretrained", "real"), ("pretrained", "scratch")}


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
