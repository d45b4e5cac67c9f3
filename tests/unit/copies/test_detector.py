"""A trained detector finds altered copies of phantoms, and its stored descriptors are those of the images."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from support.datasets_of_phantoms import phantom_dataset
from support.models_of_phantoms import train_copy_detector
from synfundus.copies.config import CopyDetectorConfig
from synfundus.copies.descriptors import read_descriptors
from synfundus.copies.detector import load_copy_detector
from synfundus.copies.gate import read_gate
from synfundus.copies.manifest import CopyDetectorManifest
from synfundus.copies.reference import read_reference
from synfundus.errors import StorageError, WrongInputError
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.splits import SPLITS
from synfundus.measures.nearest import nearest
from synfundus.resources import TrainingResources
from synfundus.storage import Storage, open_storage, read_manifest

DETECTOR = "copy_detectors/p"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """A root with 60 phantoms in nine shards and a detector of them."""
    storage = open_storage(str(tmp_path_factory.mktemp("detector")))
    phantom_dataset(storage, "data/p", 60, 32, rows_per_shard=7)
    train_copy_detector(storage, "data/p", DETECTOR)
    return storage


def test_stored_descriptors_are_those_of_the_images_in_their_order(trained: Storage) -> None:
    descriptors, detector = read_descriptors(trained, DETECTOR), load_copy_detector(trained, DETECTOR)
    images = PreparedImages(trained, "data/p")
    for split in SPLITS:
        pixels = images.batch(split, range(images.num_images(split))).images_BHWC
        np.testing.assert_allclose(descriptors[split], detector.descriptors(pixels), atol=1e-6)


def test_the_threshold_is_the_nearest_validation_photograph(trained: Storage) -> None:
    descriptors = read_descriptors(trained, DETECTOR)
    reference = read_reference(trained, DETECTOR).on("cpu")
    ratios = nearest(descriptors["validation"], reference).ratio
    gate, detector = read_gate(trained, DETECTOR), load_copy_detector(trained, DETECTOR)
    assert detector.threshold == gate.calibration.threshold == ratios.min()
    rejected = nearest(descriptors["test"], reference).ratio < detector.threshold
    assert gate.metrics.false_rejections.value == pytest.approx(rejected.mean())
    assert gate.metrics.false_rejections.n == len(rejected)
    assert {found.n for found in gate.metrics.found.values()} == {len(descriptors["train"])}


def test_the_reference_names_the_patient_of_each_training_photograph_by_number(trained: Storage) -> None:
    images = PreparedImages(trained, "data/p")
    patients = images.labels("train", range(images.num_images("train"))).patients
    numbers = read_reference(trained, DETECTOR).patient_N.tolist()
    assert len(set(zip(patients, numbers, strict=True))) == len(set(patients)) == len(set(numbers))
    assert numbers[0] == 0, "numbers count from the first patient, so they do not depend on the key of the hashes"


def test_equal_trainings_give_equal_bytes_and_the_digest_ignores_the_metrics(trained: Storage) -> None:
    again = train_copy_detector(trained, "data/p", "copy_detectors/again")
    manifest = read_manifest(trained, DETECTOR, CopyDetectorManifest)
    assert again.files == manifest.files
    assert manifest.detector_digest == load_copy_detector(trained, DETECTOR).digest
    files = {name: entry for name, entry in manifest.files.items() if name != "metrics.json"}
    assert manifest.model_copy(update={"files": files}).detector_digest == manifest.detector_digest


def test_a_changed_file_of_descriptors_is_refused(trained: Storage, tmp_path: Path) -> None:
    shutil.copytree(trained.uri(DETECTOR), tmp_path / DETECTOR)
    (tmp_path / DETECTOR / "descriptors-00000.safetensors").write_bytes(b"other")
    with pytest.raises(StorageError, match=r"descriptors-00000.safetensors differs from its manifest"):
        read_descriptors(open_storage(str(tmp_path)), DETECTOR)


def test_an_incomplete_detector_is_refused(storage: Storage) -> None:
    with pytest.raises(WrongInputError, match="copy_detectors/p is not complete"):
        load_copy_detector(storage, DETECTOR)


def test_a_trained_detector_finds_altered_copies_of_phantoms(storage: Storage) -> None:
    """240 phantoms, a small encoder and 250 steps are a weak detector: it finds copies that are altered a little.

    About 3 % of phantoms of other people are rejected, which is what chance finds.
    """
    phantom_dataset(storage, "data/p", 240, 32)
    resources = TrainingResources(num_threads=1, precision="fp32")
    config = CopyDetectorConfig(image_size_px=32, width=16, num_steps=250, batch_size=32, resources=resources)
    train_copy_detector(storage, "data/p", DETECTOR, config)
    metrics = read_gate(storage, DETECTOR).metrics
    values = {kind: found.value or 0.0 for kind, found in metrics.found.items()}
    assert values["mirrored"] > 0.98
    slight = ("JPEG of quality 50", "rotated by 5 degrees", "shifted by 3 % of the side", "recoloured")
    assert min(values[kind] for kind in slight) > 0.6, values
    assert min(values.values()) > 0.06, values
    assert metrics.false_rejections.value is not None
    assert metrics.false_rejections.value < 0.12
