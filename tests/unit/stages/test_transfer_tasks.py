"""Cells with several workers: their trials are kept below `runs/`, and end in the cell that a pool would write."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from support.datasets_of_phantoms import phantom_dataset
from support.samples_example import FOLDER
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.errors import WrongInputError, WrongWeightsError
from synfundus.resources import TrainingResources
from synfundus.stages import transfer_tasks
from synfundus.stages.transfer_tasks import CellFinisher, TrialTask, train_grid
from synfundus.storage import Storage, is_complete, manifest_digest
from synfundus.training.metadata import CHECKPOINT_FILE
from synfundus.transfer.cells import Cell
from synfundus.transfer.config import TransferConfig
from synfundus.transfer.files import read_cell
from synfundus.transfer.grid import GridInputs, make_grid
from synfundus.transfer.manifest import cell_folder
from synfundus.transfer.sources import CellPlaces
from synfundus.transfer.work import CellTrainer

ANNOTATOR = AnnotatorConfig(
    architecture="test_resnet",
    image_size_px=32,
    num_steps=4,
    batch_size=8,
    learning_rate=1e-3,
    resources=TrainingResources(precision="fp32", num_threads=1),
)


def test_trials_that_were_kept_end_in_the_cell_of_the_pool(storage: Storage) -> None:
    inputs = GridInputs(manifest_digest(phantom_dataset(storage, "data/p", 40, 32)), None)
    settings = {
        "architectures": ["test_resnet"],
        "arms": {"real": {}},
        "fractions": [1.0],
        "seeds": [0],
        "learning_rates": [1e-4, 3e-3],
        "evaluate_every_steps": 2,
        "resources": {"precision": "fp32"},
    }
    grid = make_grid(TransferConfig.model_validate(settings), ANNOTATOR, inputs)
    (cell,) = grid.cells.values()
    places = CellPlaces(storage, "data/p", FOLDER, {}, {})
    CellTrainer(places, "p-transfer", 1, "cpu")(cell)
    expected, record = read_cell(storage, cell.digest)

    # A cell with another digest and the same content, so that it is written beside the first one.
    other = cell.model_copy(update={"external": {"none": "00"}})
    for number in range(2):
        task = TrialTask(places, other, number, "p-transfer")
        learner = task.build(torch.device("cpu"), 0, 1)
        for step in range(task.config.num_steps):
            learner.train_step(step)
            if step % 2:
                learner.held_out_loss(step + 1)
        task.finish(learner, [])
        learner.close()
        replace(task).train()  # returns at once, because the trial has a result
    assert not is_complete(storage, cell_folder(other.digest))
    CellFinisher(places, "p-transfer")((other, None))
    manifest, of_trials = read_cell(storage, other.digest)
    assert (of_trials.trials, of_trials.chosen) == (record.trials, record.chosen)
    for file in ("0/model.safetensors", "0/config.json", "0/predictions.parquet"):
        assert manifest.files[file].sha256 == expected.files[file].sha256


def test_a_reason_ends_in_a_cell_without_a_network(storage: Storage) -> None:
    inputs = GridInputs("da" * 32, None)
    config = TransferConfig.model_validate(
        {"architectures": ["test_resnet"], "arms": {"real": {}}, "fractions": [1.0], "seeds": [0]}
    )
    (cell,) = make_grid(config, ANNOTATOR, inputs).cells.values()
    CellFinisher(CellPlaces(storage, "data/p", FOLDER, {}, {}), "p-transfer")((cell, "no label"))
    manifest, record = read_cell(storage, cell.digest)
    assert record.reason == "no label"
    assert list(manifest.files) == ["0/cell.json"]


class InProcess:
    """Ray Train and the pool without Ray: a trial takes all its steps in this process."""

    def train(self, task: TrialTask, progress: object) -> None:
        learner = task.build(torch.device("cpu"), 0, 1)
        for step in range(task.config.num_steps):
            learner.train_step(step)
        learner.held_out_loss(task.config.num_steps)
        task.finish(learner, [])
        task.storage.replace(f"runs/{task.run_name}/train/step-0000004/{CHECKPOINT_FILE}", b"{}")
        learner.close()

    def run_on_pool(
        self, work: Callable[..., Any], arguments: tuple[Any, ...], items: Sequence[Any], resources: object
    ) -> Iterator[Any]:
        yield from map(work(*arguments), items)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_tasks, "train", InProcess().train)
    monkeypatch.setattr(transfer_tasks, "run_on_pool", InProcess().run_on_pool)


def train_cells(storage: Storage, num_workers: int, path: Path | None = None) -> Cell:
    """Train the one cell of a grid, from a file of weights if there is one, and return it."""
    inputs = GridInputs(manifest_digest(phantom_dataset(storage, "data/p", 40, 32)), None)
    digest = "ab" * 32
    settings = {
        "architectures": ["test_resnet"],
        "arms": {"real": {} if path is None else {"start": "weights", "weights": {"test_resnet": str(path)}}},
        "fractions": [1.0],
        "seeds": [0],
        "resources": {"precision": "fp32", "num_workers": num_workers},
    }
    config = TransferConfig.model_validate(settings)
    grid = make_grid(config, ANNOTATOR, replace(inputs, weights={("real", "test_resnet"): digest}))
    places = CellPlaces(storage, "data/p", FOLDER, {}, {digest: str(path)})
    (cell,) = grid.cells.values()
    try:
        train_grid(places, grid, config.resources, "p-transfer", transfer_tasks._Silent())
    except WrongInputError:
        assert not is_complete(storage, cell_folder(cell.digest)), "the next run must try again"
        raise
    return cell


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("content", [None, b"", b"damaged"])
@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_a_file_of_weights_that_cannot_be_read_ends_the_stage_and_is_named(
    storage: Storage, tmp_path: Path, name: str, content: bytes | None, num_workers: int
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WrongWeightsError) as caught:
        train_cells(storage, num_workers, path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("in_process")
def test_several_workers_leave_nothing_of_a_complete_cell_below_runs(storage: Storage) -> None:
    cell = train_cells(storage, 2)
    assert read_cell(storage, cell.digest)[1].chosen == 0
    assert list(storage.names("runs/p-transfer")) == []
