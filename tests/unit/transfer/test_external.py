"""External test sets: all their splits are predicted, without patients of the study's own dataset."""

from typing import Any

import numpy as np

from support.data_manifest import data_manifest
from support.datasets_of_phantoms import phantom_row
from support.shards_of_rows import write_shards
from synfundus.diagnosis.annotator import TableScorer
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.splits import SPLITS
from synfundus.labels import HEAD_NAMES, NUM_VALUES
from synfundus.phantom.config import PhantomConfig
from synfundus.storage import Storage, manifest_digest, write_manifest
from synfundus.transfer.collect import collect_results, summarise_arm
from synfundus.transfer.config import TransferConfig
from synfundus.transfer.external import describe_external, patients_of, predict_external
from synfundus.transfer.grid import GridInputs, make_grid
from synfundus.transfer.predictions import external_key, read_predictions
from synfundus.transfer.results import read_results
from synfundus.transfer.sources import CellPlaces
from synfundus.transfer.work import CellTrainer

NUM_IMAGES, NUM_SHARED = 20, 3


def other_dataset(storage: Storage, own: PreparedImages, key: str | None = None) -> PreparedImages:
    """Write `data/other`: phantoms of other patients, but the first images are of a patient of `own`."""
    rows: list[dict[str, Any]] = [
        phantom_row(PhantomConfig(num_images=NUM_IMAGES, size_px=40, seed=9), i) for i in range(NUM_IMAGES)
    ]
    for number, row in enumerate(rows):
        row["patient"] = patients_of(own)[0] if number < NUM_SHARED else f"other-{row['patient']}"
    objects = write_shards(storage, "data/other", rows, 64)
    manifest = data_manifest(rows, 40).model_copy(update={"patient_key": key or own.manifest.patient_key})
    write_manifest(storage, "data/other", objects, manifest)
    return PreparedImages(storage, "data/other")


def constant_scorer(images: PreparedImages) -> TableScorer:
    """Return a scorer that gives each image of a dataset the logits of its number."""
    ids = [i for split in SPLITS for i in _ids(images, split)]
    return TableScorer({image_id: np.full(NUM_VALUES, number, np.float32) for number, image_id in enumerate(ids)})


def _ids(images: PreparedImages, split: str) -> list[str]:
    return images.labels(split, range(images.num_images(split))).image_ids


def test_all_splits_are_predicted_except_images_of_own_patients(storage: Storage, places: CellPlaces) -> None:
    own = PreparedImages(storage, "data/p")
    other = other_dataset(storage, own)
    predictions = predict_external(constant_scorer(other), own, other)
    kept = [row for row, patient in enumerate(patients_of(other)) if patient not in patients_of(own)]
    assert len(kept) == NUM_IMAGES - NUM_SHARED
    assert predictions.logit_BV[:, 0].tolist() == kept
    assert predictions.patients == [patients_of(other)[row] for row in kept]
    described = describe_external("other", own, other)
    assert (described.num_images, described.num_excluded) == (NUM_IMAGES - NUM_SHARED, NUM_SHARED)
    assert described.patients_compared


def test_hashes_of_another_key_cannot_be_compared_and_the_record_says_so(storage: Storage, places: CellPlaces) -> None:
    own = PreparedImages(storage, "data/p")
    other = other_dataset(storage, own, key="another key")
    assert len(predict_external(constant_scorer(other), own, other).patients) == NUM_IMAGES
    described = describe_external("other", own, other)
    assert (described.num_images, described.num_excluded, described.patients_compared) == (NUM_IMAGES, 0, False)


def test_results_hold_each_place_and_predictions_that_pair_up(
    storage: Storage, places: CellPlaces, annotator: AnnotatorConfig, inputs: GridInputs
) -> None:
    other = other_dataset(storage, PreparedImages(storage, "data/p"))
    settings = {
        "architectures": ["test_resnet"],
        "arms": {"real": {}, "scratch": {}, "imagenet": {"start": "weights"}, "mixed": {"added_samples": 0.1}},
        "fractions": [0.5],
        "seeds": [4],
        "external": ["other"],
        "resources": {"precision": "fp32"},
    }
    config = TransferConfig.model_validate(settings)
    grid = make_grid(
        config, annotator, GridInputs(inputs.data, inputs.samples, {"other": manifest_digest(other.manifest)})
    )
    with_external = CellPlaces(storage, places.data_folder, places.samples_folder, {"other": "data/other"}, {})
    trainer = CellTrainer(with_external, "p-transfer", 1, "cpu")
    for cell in grid.cells.values():
        trainer(cell)
    collect_results(with_external, config, grid, "transfers/p", "digest of the stage")
    results = read_results(storage, "transfers/p")
    assert [arm.name for arm in results.arms] == ["real", "scratch", "imagenet", "mixed"]
    assert {arm.architectures for arm in results.arms} == {None}
    real, scratch, imagenet, mixed = results.places
    assert real.trained is not None
    assert mixed.trained is not None
    assert scratch.trained == real.trained
    assert imagenet.trained is None
    assert (imagenet.reason or "").endswith("no file is named")
    assert (real.fraction, real.seed, real.architecture) == (0.5, 4, "test_resnet")
    assert real.trained.curve[-1].step == annotator.num_steps
    assert set(real.trained.images.known) == set(HEAD_NAMES)
    one, two = (read_predictions(storage, "transfers/p", p.trained.digest) for p in (real, mixed) if p.trained)
    assert set(one) == set(two) == {"validation", "test", external_key("other")}
    for split, of_one in one.items():
        assert of_one.patients == two[split].patients
        np.testing.assert_array_equal(of_one.p_BV, two[split].p_BV)
        assert not np.array_equal(of_one.logit_BV, two[split].logit_BV)
    assert len(one[external_key("other")].patients) == results.external[0].num_images


def test_results_tell_which_arms_start_from_the_same_file_and_which_lack_architectures(
    annotator: AnnotatorConfig, inputs: GridInputs
) -> None:
    files = {"test_resnet": "a.safetensors", "test_vit": "gone.safetensors"}
    arms = {
        "all": {"architectures": ["test_vit", "test_resnet"]},
        "few": {"architectures": ["test_vit"]},
        "imagenet": {"start": "weights", "weights": files},
    }
    config = TransferConfig.model_validate({"architectures": ["test_resnet", "test_vit"], "arms": arms})
    digests = {("imagenet", "test_resnet"): "a" * 64}
    grid = make_grid(config, annotator, GridInputs(inputs.data, inputs.samples, {}, digests))
    every, few, imagenet = (summarise_arm(name, config, grid) for name in arms)
    assert (every.architectures, few.architectures, imagenet.architectures) == (None, ("test_vit",), None)
    assert (few.weights, imagenet.weights) == ({}, {"test_resnet": "a" * 64})
