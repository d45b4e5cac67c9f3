"""The stage `transfer` on Ray: killed and resumed, shared by studies, and cells with several workers."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import psutil
import pytest
import torch

from support.datasets_of_phantoms import phantom_dataset
from support.killed_once import KilledOnce
from support.plain_training import train_plainly
from support.samples_example import FOLDER, phantom_samples
from support.tiny_study import MODELS, finish, listing, run_here, start_process
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.distributed.train import train
from synfundus.resources import TrainingResources
from synfundus.stages.transfer_tasks import TrialTask, train_grid
from synfundus.storage import Storage, is_complete, manifest_digest, open_storage
from synfundus.transfer.config import TransferConfig
from synfundus.transfer.files import read_cell
from synfundus.transfer.grid import Grid, GridInputs, make_grid
from synfundus.transfer.manifest import cell_folder
from synfundus.transfer.predictions import read_predictions
from synfundus.transfer.results import read_results
from synfundus.transfer.sources import CellPlaces

NAME = PurePosixPath(FOLDER).name
"""Name of the study, which is that of the example's samples."""
PATIENCE_S = 1800.0
"""Seconds after which a test stops waiting. No result depends on it."""
GRID = """\
transfer:
  architectures: [test_resnet, test_vit]
  arms: {scratch: {}, real: {}, pretrained: {start: samples}, imagenet: {start: weights}}
  fractions: [0.5]
  seeds: [0, 1]
  num_steps: 12
  evaluate_every_steps: 6
"""
NUM_CELLS = 12
"""Two architectures x two seeds x (from scratch, pre-training, fine-tuning)."""


def study_of_grid(folder: Path) -> Path:
    """Write a study with the grid to `folder`, and phantoms and samples to its root; return its file."""
    folder.mkdir()
    file = folder / "grid.yaml"
    file.write_text(f"recipe: phantom-cpu\nname: {NAME}\nroot: root\n{MODELS}{GRID}")
    storage = open_storage(str(folder / "root"))
    phantom_dataset(storage, f"data/{NAME}", 80, 32)
    phantom_samples(storage)
    return file


def contents(root: Path) -> dict[str, Any]:
    """Return every manifest of cells and results."""
    paths = [*root.glob("cells/*/manifest.json"), *root.glob("transfers/*/manifest.json")]
    return {path.parent.relative_to(root).as_posix(): json.loads(path.read_text()) for path in paths}


@pytest.fixture
def short_tmpdir(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the processes of a test a folder for Ray that is removed although they are killed."""
    folder = tempfile.mkdtemp(prefix="t-", dir="/tmp")
    monkeypatch.setenv("TMPDIR", folder)
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.usefixtures("ray_session", "short_tmpdir")
def test_a_grid_that_is_killed_in_the_middle_and_resumed_equals_the_undisturbed_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = study_of_grid(tmp_path / "killed")
    root = file.parent / "root"
    process = start_process("transfer", file)
    end_s = time.monotonic() + PATIENCE_S
    while len(complete := list(root.glob("cells/*/manifest.json"))) < 2:
        assert process.poll() is None, finish(process)
        assert time.monotonic() < end_s
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    for killed in [psutil.Process(process.pid), *children]:
        killed.kill()
    finish(process)
    psutil.wait_procs(children, timeout=60)
    complete = list(root.glob("cells/*/manifest.json"))
    assert len(complete) < NUM_CELLS, "the grid was finished before it was killed, so this test proved nothing"
    assert not list(root.glob("transfers/*/manifest.json"))
    before = {path: path.stat().st_mtime_ns for path in complete}

    shown = run_here(capsys, "transfer", file, "--dry-run")
    assert f"{NUM_CELLS} for 16 places of the grid, {len(complete)} cached" in shown.out
    outcome = run_here(capsys, "transfer", file)
    assert outcome.code == 0, outcome.err
    assert {path: path.stat().st_mtime_ns for path in complete} == before, "no cell is computed twice"

    undisturbed = study_of_grid(tmp_path / "undisturbed")
    outcome = run_here(capsys, "transfer", undisturbed)
    assert outcome.code == 0, outcome.err
    assert len(contents(root)) == NUM_CELLS + 1
    assert contents(root) == contents(undisturbed.parent / "root")

    storage = open_storage(str(root))
    results = read_results(storage, f"transfers/{NAME}")
    assert [place.trained is None for place in results.places] == [place.arm == "imagenet" for place in results.places]
    for place in results.places:
        if place.trained is not None:
            assert {"validation", "test"} == set(read_predictions(storage, f"transfers/{NAME}", place.trained.digest))

    after = listing(root)
    assert run_here(capsys, "transfer", file).code == 0
    assert listing(root) == after, "a complete grid is left as it is"


SETTINGS = AnnotatorConfig(
    architecture="test_resnet",
    image_size_px=32,
    num_steps=12,
    batch_size=8,
    learning_rate=1e-3,
    resources=TrainingResources(num_threads=1),
)


def two_workers(storage: Storage, **changes: Any) -> tuple[Grid, CellPlaces, TransferConfig]:
    data = manifest_digest(phantom_dataset(storage, "data/p", 80, 32))
    inputs = GridInputs(data, manifest_digest(phantom_samples(storage)))
    settings = {
        "architectures": ["test_resnet"],
        "arms": {"real": {}},
        "fractions": [1.0],
        "seeds": [0],
        "evaluate_every_steps": 4,
        "resources": {"num_workers": 2},
    }
    config = TransferConfig.model_validate({**settings, **changes})
    return make_grid(config, SETTINGS, inputs), CellPlaces(storage, "data/p", FOLDER, {}, {}), config


class Steps:
    """Progress that keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[int] = []

    def update(self, done: int, note: str = "") -> None:
        self.shown.append(done)


@pytest.mark.usefixtures("ray_session")
def test_a_trial_of_two_workers_is_the_same_if_one_is_killed(storage: Storage, tmp_path: Path) -> None:
    grid, places, _ = two_workers(storage)
    (cell,) = grid.cells.values()
    task = TrialTask(places, cell, 0, "plain")
    train_plainly(task, tmp_path / "meeting-point")
    marker, killed = tmp_path / "killed", replace(task, grid_run="killed")
    train(KilledOnce(killed, marker, at_step=6), Steps())
    assert marker.exists(), "the worker was never killed, so this test proved nothing"
    undisturbed, resumed = task.result(), killed.result()
    assert [point.step for point in undisturbed.record.curve] == [4, 8, 12]
    assert resumed.record == undisturbed.record
    assert resumed.weights.keys() == undisturbed.weights.keys()
    assert all(torch.equal(value, resumed.weights[name]) for name, value in undisturbed.weights.items())


@pytest.mark.usefixtures("ray_session")
def test_cells_of_several_workers_run_on_ray_train_in_both_waves(storage: Storage) -> None:
    arms = {"pretrained": {"start": "samples"}, "mixed": {"added_samples": 9}}
    grid, places, config = two_workers(storage, arms=arms)
    steps = Steps()
    train_grid(places, grid, config.resources, "p-transfer", steps)
    assert steps.shown == [0, *(12 * number for number in range(1, 4))]
    reasons = [read_cell(storage, digest)[1].reason for digest in grid.cells]
    assert [reason is None for reason in reasons] == [True, True, False]
    assert "the arm needs" in str(reasons[-1])
    assert all(is_complete(storage, cell_folder(digest)) for digest in grid.cells)
    again = Steps()
    train_grid(places, grid, config.resources, "p-transfer", again)
    assert again.shown == [grid.num_steps], "complete cells are not trained again"
