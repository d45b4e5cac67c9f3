"""Settings of the grid: defaults, and combinations that are refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from synfundus.transfer.config import DEFAULT_ARMS, TransferConfig


def config(**changes: Any) -> TransferConfig:
    return TransferConfig.model_validate({"architectures": ["a", "b"], **changes})


def test_a_study_that_names_no_arm_has_all_of_them_three_seeds_and_three_fractions() -> None:
    made = config()
    assert made.arms == DEFAULT_ARMS
    assert made.arms["real"] == made.arms["scratch"]
    assert [made.arms[f"real-plus-{k}"].added_samples for k in ("0.5", "1", "2", "5")] == [0.5, 1.0, 2.0, 5.0]
    assert len(made.seeds) >= 3
    assert made.fractions == (1.0, 0.1, 0.01)
    assert made.sample_labels == "requested"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": {"x": {"train": "samples", "start": "samples"}}}, "start: samples needs train: photographs"),
        ({"arms": {"x": {"train": "shuffled", "added_samples": 1}}}, "samples are added to photographs only"),
        ({"arms": {"x": {"weights": {"a": "w.pth"}}}}, "start is not 'weights'"),
        ({"arms": {"x": {"start": "weights", "weights": {"c": "w.pth"}}}}, "'c' is not one of architectures"),
        ({"arms": {"x": {"architectures": ["c"]}}}, "'c' is not one of architectures"),
        ({"arms": {"Real": {}}}, "should match pattern"),
        ({"arms": {}}, "at least 1 item"),
        ({"architectures": []}, "at least 1 item"),
        ({"seeds": [1, 1]}, "names a value twice"),
        ({"fractions": [0.0]}, "greater than 0"),
        ({"fractions": [1.5]}, "less than or equal to 1"),
        ({"external": ["../other"]}, "should match pattern"),
        ({"arm": {}}, "did you mean 'arms'"),
    ],
)
def test_a_mistake_is_refused_with_its_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**changes)


def test_a_grid_of_photographs_alone_uses_no_samples() -> None:
    assert not config(arms={"real": {}, "imagenet": {"start": "weights"}}).uses_samples
    for arm in ({"train": "samples"}, {"train": "shuffled"}, {"start": "samples"}, {"added_samples": 2}):
        assert config(arms={"real": {}, "x": arm}).uses_samples
