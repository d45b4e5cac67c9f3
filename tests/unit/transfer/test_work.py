"""Cells: selection on the validation split, resume, files, reasons, and repeated attempts."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import timm
import torch

from support.data_manifest import data_manifest
from support.datasets_of_phantoms import phantom_row
from support.samples_example import FOLDER
from support.shards_of_rows import write_shards
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.held_out import decode_held_out
from synfundus.digests import sha256_hex
from synfundus.errors import WrongInputError
from synfundus.labels import LABEL_NAMES
from synfundus.phantom.config import PhantomConfig
from synfundus.storage import Storage, manifest_digest, read_manifest, read_trusted, write_manifest
from synfundus.storage.local import LocalStorage
from synfundus.training.metadata import StepMetrics
from synfundus.transfer.cells import Cell
from synfundus.transfer.config import TransferConfig
from synfundus.transfer.files import Outcome, read_cell, read_network, write_cell
from synfundus.transfer.grid import Grid, GridInputs, make_grid
from synfundus.transfer.learner import CellLearner
from synfundus.transfer.manifest import CellManifest, cell_folder
from synfundus.transfer.records import CellRecord, CurvePoint, Trial
from synfundus.transfer.sources import CellPlaces, CellSources
from synfundus.transfer.state import TrialState
from synfundus.transfer.work import CellTrainer, choose_trial, train_trial

CPU = torch.device("cpu")
CNN, VIT = "test_resnet", "test_vit"


def grid(annotator: AnnotatorConfig, inputs: GridInputs, **changes: Any) -> Grid:
    settings = {
        "architectures": [CNN],
        "arms": {"real": {}},
        "fractions": [1.0],
        "seeds": [0],
        "evaluate_every_steps": 2,
        "resources": {"precision": "fp32"},
    }
    return make_grid(TransferConfig.model_validate({**settings, **changes}), annotator, inputs)


def only(grid: Grid) -> Cell:
    (cell,) = grid.cells.values()
    return cell


def learner_of(places: CellPlaces, cell: Cell) -> CellLearner:
    sources = CellSources(places)
    images = sources.training_images(cell).images
    return CellLearner(images, sources.photographs, cell.trial_config(0), CPU, start=sources.start(cell))


def train(places: CellPlaces, *cells: Cell) -> list[CellRecord]:
    trainer = CellTrainer(places, "p-transfer", 1, "cpu")
    return [read_cell(places.storage, trainer(cell))[1] for cell in cells]


@pytest.mark.parametrize("architecture", [CNN, VIT])
def test_a_cell_holds_the_network_of_the_best_step_in_timms_layout(
    storage: Storage, places: CellPlaces, annotator: AnnotatorConfig, inputs: GridInputs, architecture: str
) -> None:
    assert isinstance(storage, LocalStorage)
    cell = only(grid(annotator, inputs, architectures=[architecture], learning_rates=[1e-3, 5e-3]))
    (record,) = train(places, cell)
    assert record.cell == cell
    assert [[point.step for point in trial.curve] for trial in record.trials] == [[2, 4], [2, 4]]
    assert [trial.learning_rate for trial in record.trials] == [1e-3, 5e-3]
    bests = [trial.best for trial in record.trials]
    assert record.chosen == int(np.argmax([best.auc for best in bests if best is not None]))
    folder = storage.path(f"{cell_folder(cell.digest)}/0")
    network = timm.create_model(f"local-dir:{folder}", pretrained=True)
    weights = read_network(storage, cell.digest)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    predictions = decode_held_out((folder / "predictions.parquet").read_bytes(), None)
    assert set(predictions) == {"validation", "test"}
    with torch.inference_mode():
        from synfundus.diagnosis.model import preprocess
        from synfundus.fundus.dataset import PreparedImages

        images = PreparedImages(storage, "data/p")
        batch = images.batch("test", range(images.num_images("test")))
        logit_BV = network.eval()(preprocess(batch.images_BHWC, 32)).numpy()
    np.testing.assert_allclose(predictions["test"].logit_BV, logit_BV, atol=1e-4)
    np.testing.assert_array_equal(predictions["test"].expert_BK, batch.expert_BK)


def test_the_kept_weights_are_those_after_the_best_step(
    places: CellPlaces, annotator: AnnotatorConfig, inputs: GridInputs
) -> None:
    cell = only(grid(annotator, inputs, num_steps=6))
    trial = train_trial(learner_of(places, cell))
    best = trial.record.best
    assert best is not None
    again = learner_of(places, cell)
    for step in range(best.step):
        again.train_step(step)
    assert all(torch.equal(value, trial.weights[name]) for name, value in again.network.state_dict().items())


def test_the_best_point_is_the_largest_and_the_earliest_among_equal_ones() -> None:
    def trial(*aucs: float, diverged: str | None = None) -> Trial:
        points = tuple(CurvePoint(step=step, auc=auc) for step, auc in enumerate(aucs, 1))
        return Trial(learning_rate=1.0, curve=points, diverged=diverged)

    best = trial(0.5, 0.7, 0.7, 0.6).best
    assert best is not None
    assert best.step == 2
    assert choose_trial([trial(0.5), trial(0.8), trial(0.8)]) == 1
    assert choose_trial([trial(0.5), trial(0.9, diverged="step 2")]) == 0
    assert choose_trial([trial(diverged="step 1"), trial(0.9, diverged="step 2")]) is None


def test_a_resumed_trial_equals_the_uninterrupted_one(
    places: CellPlaces, annotator: AnnotatorConfig, inputs: GridInputs
) -> None:
    cell = only(grid(annotator, inputs, num_steps=6))
    expected = train_trial(learner_of(places, cell))
    first = learner_of(places, cell)
    for step in range(4):
        first.train_step(step)
        if step % 2:
            first.held_out_loss(step + 1)
    second = learner_of(places, cell)
    second.load_state(first.state())
    for step in (4, 5):
        second.train_step(step)
    second.held_out_loss(6)
    assert tuple(second.curve) == expected.record.curve
    assert second.best.keys() == expected.weights.keys()
    assert all(torch.equal(value, expected.weights[name]) for name, value in second.best.items())


class KilledError(Exception):
    """End of a process in the middle of a trial."""


@pytest.mark.parametrize("period_s", [0.0, 1e9])
def test_a_killed_trial_goes_on_at_its_last_state_and_ends_with_equal_weights(
    storage: Storage, places: CellPlaces, annotator: AnnotatorConfig, inputs: GridInputs, period_s: float
) -> None:
    cell = only(grid(annotator, inputs, num_steps=8))
    expected = train_trial(learner_of(places, cell))
    killed = learner_of(places, cell)
    step_of = killed.train_step

    def train_step(step: int) -> StepMetrics:
        if step == 5:
            raise KilledError
        return step_of(step)

    killed.train_step = train_step  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        train_trial(killed, TrialState(storage, "runs/p/trial", period_s))
    states = list(storage.names("runs/p/trial"))
    assert states == ([] if period_s else ["runs/p/trial/step000000004"]), "the last state alone is kept"
    resumed = learner_of(places, cell)
    assert TrialState(storage, "runs/p/trial").restore(resumed) == (0 if period_s else 4)
    state = TrialState(storage, "runs/p/trial", period_s)
    trial = train_trial(learner_of(places, cell), state)
    assert trial.record == expected.record
    assert all(torch.equal(value, trial.weights[name]) for name, value in expected.weights.items())
    state.remove()
    assert not list(storage.names("runs/p/trial"))


def phantoms(storage: Storage, folder: str, *, flipped: str | None = None) -> str:
    """Write 80 phantoms; every expert's flag of the split `flipped` is inverted. Return the digest of the manifest."""
    config = PhantomConfig(num_images=80, size_px=32, seed=7, null_fraction=0.2)
    rows = [phantom_row(config, index) for index in range(80)]
    for row in rows:
        if row["split"] == flipped:
            for name in LABEL_NAMES[1:]:
                row[name] = None if row[name] is None else 1 - int(str(row[name]))
    objects = write_shards(storage, folder, rows, 64)
    return manifest_digest(write_manifest(storage, folder, objects, data_manifest(rows, 32)))


def test_changing_the_test_labels_changes_no_trained_weight(storage: Storage, annotator: AnnotatorConfig) -> None:
    found: dict[str | None, tuple[str, bytes]] = {}
    for flipped in (None, "test", "validation"):
        folder = f"data/flipped-{flipped or 'nothing'}".lower()
        inputs = GridInputs(phantoms(storage, folder, flipped=flipped), None)
        cell = only(grid(annotator, inputs, num_steps=8, learning_rates=[1e-4, 3e-3]))
        (record,) = train(CellPlaces(storage, folder, FOLDER, {}, {}), cell)
        manifest, _ = read_cell(storage, cell.digest)
        weights = manifest.files["0/model.safetensors"].sha256
        predictions = read_trusted(storage, cell_folder(cell.digest), "0/predictions.parquet", manifest)
        assert record.reason is None
        found[flipped] = weights, predictions
    weights, predictions = found[None]
    other_weights, other_predictions = found["test"]
    assert other_weights == weights
    assert other_predictions != predictions, "the test labels were not changed, so this test proved nothing"
    assert found["validation"][0] != weights, "inverted validation labels must change the selection"


def test_a_fine_tuned_network_starts_from_the_pre_trained_one_with_its_head(
    places: CellPlaces, annotator: AnnotatorConfig, inputs: GridInputs
) -> None:
    made = grid(annotator, inputs, arms={"pretrained": {"start": "samples"}}, fractions=[0.5], learning_rates=[1e-12])
    (first,), (second,) = made.waves
    before, after = train(places, first, second)
    assert before.images is not None
    assert after.images is not None
    assert (before.images.num_photographs, before.images.num_samples) == (0, 11)
    assert after.images.num_samples == 0
    assert 0 < after.images.num_patients < after.images.num_photographs
    assert after.trials[0].fresh_tensors == ()
    old, new = (read_network(places.storage, cell.digest) for cell in (first, second))
    # At this learning rate nothing but the running statistics of batch norm moves.
    for name, value in new.items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(value, old[name], atol=1e-6, rtol=0)


def test_photographs_and_added_samples_are_counted(
    places: CellPlaces, annotator: AnnotatorConfig, inputs: GridInputs
) -> None:
    cell = only(grid(annotator, inputs, arms={"mixed": {"added_samples": 0.5}}, fractions=[0.1]))
    (record,) = train(places, cell)
    images = record.images
    assert images is not None
    assert images.num_samples == round(0.5 * images.num_photographs) > 0
    assert images.known["is_fundus"] <= images.num_photographs + images.num_samples


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"arms": {"mixed": {"added_samples": 5}}}, "samples/demo: the arm needs"),
        ({"learning_rates": [1e30, 1e31]}, "every trial diverged: training diverged at step"),
    ],
)
def test_a_cell_that_cannot_be_computed_has_its_reason_and_no_network(
    places: CellPlaces, annotator: AnnotatorConfig, inputs: GridInputs, changes: dict[str, Any], reason: str
) -> None:
    cell = only(grid(annotator, inputs, **changes))
    (record,) = train(places, cell)
    assert (record.reason or "").startswith(reason)
    assert list(read_cell(places.storage, cell.digest)[0].files) == ["0/cell.json"]


def test_a_cell_whose_start_was_not_computed_says_so(
    places: CellPlaces, annotator: AnnotatorConfig, inputs: GridInputs
) -> None:
    made = grid(annotator, inputs, arms={"pretrained": {"start": "samples"}})
    (first,), (second,) = made.waves
    write_cell(places.storage, first, Outcome.not_computed(first, "no label"))
    (record,) = train(places, second)
    assert record.reason == "the network to start from was not computed (no label)"


def test_weights_of_a_file_are_the_start_and_the_head_is_fresh(
    storage: Storage, places: CellPlaces, annotator: AnnotatorConfig, inputs: GridInputs, tmp_path: Any
) -> None:
    torch.manual_seed(3)
    known = timm.create_model(CNN, num_classes=1000).state_dict()
    path = tmp_path / "imagenet.pth"
    torch.save(known, path)
    digest = sha256_hex(path.read_bytes())
    arms = {"imagenet": {"start": "weights", "weights": {CNN: str(path)}}}
    given = replace(inputs, weights={("imagenet", CNN): digest})
    cell = only(grid(annotator, given, arms=arms, learning_rates=[1e-12], num_steps=1))
    (record,) = train(replace(places, weights={digest: str(path)}), cell)
    assert set(record.trials[0].fresh_tensors or ()) == {"fc.weight", "fc.bias"}
    torch.testing.assert_close(
        read_network(storage, cell.digest)["conv1.0.weight"], known["conv1.0.weight"], atol=1e-6, rtol=0
    )
    with pytest.raises(WrongInputError, match="no such file of weights"):
        train(replace(places, weights={digest: str(tmp_path / "gone.pth")}), cell.model_copy(update={"held_out": "x"}))


def test_an_interrupted_attempt_with_other_bytes_does_not_stop_the_next(
    storage: Storage, places: CellPlaces, annotator: AnnotatorConfig, inputs: GridInputs
) -> None:
    cell = only(grid(annotator, inputs))
    folder = cell_folder(cell.digest)
    storage.write_once(f"{folder}/0/model.safetensors", b"of a GPU that rounds differently")
    train(places, cell)
    manifest = read_manifest(storage, folder, CellManifest)
    assert manifest.attempt == 1
    assert set(manifest.files) == {
        f"1/{name}" for name in ("cell.json", "config.json", "model.safetensors", "predictions.parquet")
    }
    before = json.loads(storage.read(f"{folder}/manifest.json"))
    write_cell(storage, cell, Outcome.not_computed(cell, "another process was slower"))
    assert json.loads(storage.read(f"{folder}/manifest.json")) == before, "the first complete cell stays"
