"""Cells with several workers: their trials are kept below `runs/`, and end in the cell that a pool would write."""

from dataclasses import replace

import torch

from support.datasets_of_phantoms import phantom_dataset
from support.samples_example import FOLDER
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.resources import TrainingResources
from synfundus.stages.transfer_tasks import CellFinisher, TrialTask
from synfundus.storage import Storage, is_complete, manifest_digest
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
