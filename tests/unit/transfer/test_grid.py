"""The grid: which cells there are, what their digests cover, and the two waves."""

from pathlib import Path
from typing import Any

import pytest

from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.study import load_study
from synfundus.transfer.cells import Cell
from synfundus.transfer.config import TransferConfig
from synfundus.transfer.grid import Grid, GridInputs, annotator_settings, make_grid

INPUTS = GridInputs("da" * 32, "5a" * 32, {"other": "ee" * 32}, {("imagenet", "test_vit"): "11" * 32})
ANNOTATOR = {"architecture": "x", "image_size_px": 32, "num_steps": 7, "batch_size": 8, "learning_rate": 1e-3}
STUDIES = Path(__file__).parents[3] / "studies"
BOTH = {"architectures": ["test_resnet", "test_vit"]}


def grid(inputs: GridInputs = INPUTS, annotator: dict[str, Any] | None = None, **changes: Any) -> Grid:
    config = TransferConfig.model_validate({**BOTH, **changes})
    return make_grid(config, AnnotatorConfig.model_validate({**ANNOTATOR, **(annotator or {})}), inputs)


def cells_of(grid: Grid, arm: str) -> list[Cell]:
    return [row.cell for row in grid.rows if row.arm == arm and row.cell is not None]


def test_scratch_is_another_name_of_real_and_is_computed_once() -> None:
    made = grid(arms={"real": {}, "scratch": {}})
    assert len(made.rows) == 2 * 2 * 3 * 3
    assert cells_of(made, "real") == cells_of(made, "scratch")
    assert len(made.cells) == 2 * 3 * 3


def test_an_arm_without_photographs_has_no_fraction() -> None:
    made = grid(arms={"synthetic": {"train": "samples"}})
    assert [row.fraction for row in made.rows] == [None] * 6
    assert all(cell.photographs is None for cell in made.cells.values())


def test_pre_training_is_the_cell_of_the_arm_synthetic_and_comes_first() -> None:
    arms = {"synthetic": {"train": "samples"}, "pretrained": {"start": "samples"}}
    made = grid(arms=arms)
    first, second = made.waves
    assert {cell.digest for cell in first} == {cell.digest for cell in cells_of(made, "synthetic")}
    assert {cell.parent for cell in second} == {cell.digest for cell in first}
    for cell in second:
        assert made.cells[cell.parent or ""].training.seed == cell.training.seed
        assert made.cells[cell.parent or ""].training.architecture == cell.training.architecture
    alone = grid(arms={"pretrained": arms["pretrained"]})
    assert alone.cells.keys() == made.cells.keys(), "a grid without the arm synthetic trains its cells all the same"


def test_the_shuffled_control_differs_in_the_labels_of_its_samples_alone() -> None:
    arms = {"pretrained": {"start": "samples"}, "shuffled": {"start": "shuffled"}}
    made = grid(arms=arms)
    for own, control in zip(cells_of(made, "pretrained"), cells_of(made, "shuffled"), strict=True):
        parent, other = made.cells[own.parent or ""], made.cells[control.parent or ""]
        assert parent.samples is not None
        assert parent.model_copy(update={"samples": parent.samples.model_copy(update={"shuffled": True})}) == other


def test_absent_weights_are_listed_with_the_reason_and_not_computed() -> None:
    arms = {"imagenet": {"start": "weights", "weights": {"test_vit": "v.safetensors"}}}
    made = grid(arms=arms, seeds=[0], fractions=[1.0])
    cnn, vit = made.rows
    assert (cnn.cell, cnn.reason) == (None, "transfer.arms.imagenet.weights.test_resnet: no file is named")
    assert vit.cell is not None
    assert vit.cell.weights == "11" * 32
    (_, gone) = grid(GridInputs("da" * 32, None), arms=arms, seeds=[0], fractions=[1.0]).rows
    assert gone.reason == "transfer.arms.imagenet.weights.test_vit: the file does not exist or cannot be read"


def test_an_arm_may_be_computed_for_some_architectures() -> None:
    made = grid(arms={"real": {}, "synthetic": {"train": "samples", "architectures": ["test_vit"]}})
    assert {cell.training.architecture for cell in cells_of(made, "synthetic")} == {"test_vit"}
    assert {cell.training.architecture for cell in cells_of(made, "real")} == set(BOTH["architectures"])


@pytest.mark.parametrize(
    "same",
    [
        {"resources": {"pool_size": 7}},
        {"resources": {"num_gpus": 1}},
        {"arms": {"another-name": {}}},
        {"annotator": {"init_from": "w.pth", "log_every_steps": 3, "resources": {"num_threads": 5}, "seed": 9}},
    ],
)
def test_what_changes_no_result_enters_no_digest(same: dict[str, Any]) -> None:
    assert grid(**{"arms": {"real": {}}, **same}).cells.keys() == grid(arms={"real": {}}).cells.keys()


@pytest.mark.parametrize(
    "change",
    [
        {"num_steps": 8},
        {"evaluate_every_steps": 3},
        {"learning_rates": [1e-3, 2e-3]},
        {"resources": {"num_threads": 2}},
        {"resources": {"precision": "fp32"}},
        {"annotator": {"rotation_deg": 1.0}},
        {"annotator": {"batch_size": 4}},
        {"inputs": GridInputs("db" * 32, "5a" * 32, INPUTS.external)},
        {"inputs": GridInputs("da" * 32, "5a" * 32, {})},
        {"inputs": GridInputs("da" * 32, "5b" * 32, INPUTS.external)},
        {"sample_labels": "agreeing"},
        {"arms": {"real": {"added_samples": 2}}},
    ],
)
def test_what_changes_a_result_changes_every_digest(change: dict[str, Any]) -> None:
    before: dict[str, Any] = {"arms": {"real": {"added_samples": 1}}, "seeds": [0], "fractions": [1.0]}
    assert not grid(**{**before, **change}).cells.keys() & grid(**before).cells.keys()


def test_a_cell_without_samples_does_not_depend_on_them() -> None:
    before = grid(arms={"real": {}})
    assert grid(GridInputs("da" * 32, None, INPUTS.external), arms={"real": {}}).cells.keys() == before.cells.keys()
    assert grid(arms={"real": {}}, sample_labels="agreeing").cells.keys() == before.cells.keys()


def test_settings_that_the_grid_replaces_are_not_those_of_the_annotator() -> None:
    annotator = AnnotatorConfig.model_validate(ANNOTATOR)
    held = annotator_settings(TransferConfig.model_validate(BOTH), annotator)
    assert held["num_steps"] == 7
    assert held["learning_rate"] == 1e-3
    own = annotator_settings(TransferConfig.model_validate({**BOTH, "num_steps": 9, "learning_rates": [1]}), annotator)
    assert held.keys() - own.keys() == {"num_steps", "learning_rate"}
    assert not {"architecture", "seed", "resources", "init_from"} & held.keys()


def test_a_cell_comes_back_from_its_json_with_the_same_digest() -> None:
    for cell in grid(learning_rates=[1e-3, 5e-4]).cells.values():
        assert Cell.from_json(cell.to_json(), "cell.json").digest == cell.digest


def test_long_trainings_come_first_in_a_wave() -> None:
    first = grid(arms={"real": {}, "synthetic": {"train": "samples"}}, num_steps_on_samples=20).waves[0]
    steps = [cell.num_steps for cell in first]
    assert steps == sorted(steps, reverse=True)
    assert set(steps) == {20, 7}


@pytest.mark.parametrize(("name", "of"), [("transfer-phantom", "demo"), ("transfer-real", "fundus-real")])
def test_a_committed_grid_differs_from_its_study_in_the_section_transfer_only(
    monkeypatch: pytest.MonkeyPatch, name: str, of: str
) -> None:
    monkeypatch.setenv("SYNFUNDUS_REAL_DATA", "/photographs")
    own, study = (load_study(STUDIES / f"{file}.yaml") for file in (name, of))
    assert study.transfer is None
    assert own.model_copy(update={"transfer": None}) == study


def test_the_committed_grid_of_phantoms_has_at_most_24_cells_a_cnn_a_vit_and_three_seeds() -> None:
    study = load_study(STUDIES / "transfer-phantom.yaml")
    assert study.transfer is not None
    made = make_grid(study.transfer, study.annotator, GridInputs("da" * 32, "5a" * 32))
    assert len(made.cells) <= 24
    assert len(study.transfer.seeds) >= 3
    assert any("vit" in name for name in study.transfer.architectures)
    assert any("res" in name for name in study.transfer.architectures)
    arms = set(study.transfer.arms)
    assert {"synthetic", "synthetic-shuffled", "scratch", "pretrained"} <= arms
    assert {0.1, 0.01} <= set(study.transfer.fractions)
