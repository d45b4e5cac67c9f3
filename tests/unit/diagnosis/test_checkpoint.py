"""A saved annotator: timm loads it, a changed file is refused, a row does not depend on its neighbours."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray

from support.data_manifest import data_manifest
from support.operating_points import half_points, no_predictions
from synfundus.diagnosis.annotator import MICRO_BATCH, Annotator, NetworkScorer
from synfundus.diagnosis.assessment import Assessment
from synfundus.diagnosis.calibration import Calibration, HeadCalibration
from synfundus.diagnosis.checkpoint import load_annotator, save_network
from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.diagnosis.metrics import AnnotatorScores
from synfundus.diagnosis.model import ModelSpec, build_annotator, preprocess
from synfundus.errors import StorageError, WrongInputError
from synfundus.labels import HEAD_NAMES, NUM_VALUES
from synfundus.storage import LocalStorage, Storage, read_manifest, write_manifest

FOLDER = "annotators/tiny"
SPEC = ModelSpec(architecture="test_resnet", image_size_px=32)
CALIBRATION = Calibration(
    heads={name: HeadCalibration(num_positive=9, num_negative=9, base_rate=0.5) for name in HEAD_NAMES}
)
SCORES = AnnotatorScores(unusable={}, unusable_heads={}, splits={})
SPLITS = {"validation": no_predictions(), "test": no_predictions()}
MANIFEST = AnnotatorManifest(digest="of the run", data="data/tiny")
SaveTiny = Callable[..., torch.nn.Module]


@pytest.fixture
def save_tiny(storage: Storage) -> SaveTiny:
    def save(folder: str = FOLDER, calibration: Calibration = CALIBRATION, seed: int = 0) -> torch.nn.Module:
        torch.manual_seed(seed)
        network = build_annotator("test_resnet").train()
        network(torch.randn(8, 3, 32, 32))  # running statistics other than the initial ones
        save_network(storage, folder, network, SPEC, Assessment(calibration, SCORES, SPLITS), MANIFEST)
        return network

    return save


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (MICRO_BATCH + 5, 40, 40, 3)).astype(np.uint8)


def test_timm_loads_the_folder_and_gives_the_same_logits(
    storage: LocalStorage, save_tiny: SaveTiny, pixels: NDArray[np.uint8]
) -> None:
    save_tiny()
    network = timm.create_model(f"local-dir:{storage.path(FOLDER)}", pretrained=True).eval()
    assert network.num_classes == NUM_VALUES
    assert tuple(network.pretrained_cfg["input_size"]) == (3, 32, 32)
    assert tuple(network.pretrained_cfg["label_names"]) == HEAD_NAMES
    data_config = timm.data.resolve_model_data_config(network)
    assert (tuple(data_config["mean"]), tuple(data_config["std"])) == (SPEC.mean, SPEC.std)
    ours = load_annotator(storage, FOLDER).scorer.logits(pixels)
    with torch.inference_mode():
        theirs = network(preprocess(pixels, 32, data_config["mean"], data_config["std"])).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert ours.std() > 0.01


def test_a_row_is_bit_equal_whatever_its_neighbours(
    storage: Storage, save_tiny: SaveTiny, pixels: NDArray[np.uint8]
) -> None:
    save_tiny()
    annotator = load_annotator(storage, FOLDER)
    together = annotator.predict(pixels)
    features = annotator.features(pixels)
    assert features.shape == (len(pixels), annotator.scorer.network.num_features)  # type: ignore[attr-defined]
    assert features.dtype == np.float32
    for row in (0, 7, len(pixels) - 1):
        alone = annotator.predict(pixels[row : row + 1])
        np.testing.assert_array_equal(alone.probability_BV[0], together.probability_BV[row])
        assert alone.annotations[0] == together.annotations[row]
        np.testing.assert_array_equal(annotator.features(pixels[row : row + 1])[0], features[row])


def test_features_are_the_input_of_the_head(storage: Storage, save_tiny: SaveTiny, pixels: NDArray[np.uint8]) -> None:
    network = save_tiny().eval()
    annotator = load_annotator(storage, FOLDER)
    head: torch.nn.Linear = network.get_classifier()  # type: ignore[operator]
    with torch.inference_mode():
        logits = head(torch.from_numpy(annotator.features(pixels)))
    np.testing.assert_allclose(annotator.scorer.logits(pixels), logits.numpy(), atol=1e-5)


def test_no_image_gives_no_row(storage: Storage, save_tiny: SaveTiny) -> None:
    save_tiny()
    output = load_annotator(storage, FOLDER).predict(np.zeros((0, 32, 32, 3), np.uint8))
    assert output.probability_BV.shape == (0, NUM_VALUES)
    assert output.annotations == []


def test_the_digest_covers_exactly_what_decides_the_output(storage: Storage, save_tiny: SaveTiny) -> None:
    save_tiny("annotators/a")
    save_tiny("annotators/b")
    save_tiny("annotators/c", seed=1)
    shifted = Calibration(
        heads=CALIBRATION.heads | {"eye_side": HeadCalibration(num_positive=9, num_negative=8, base_rate=0.5)}
    )
    save_tiny("annotators/d", calibration=shifted)
    digests = [load_annotator(storage, f"annotators/{name}").digest for name in "abcd"]
    manifests = [read_manifest(storage, f"annotators/{name}", AnnotatorManifest) for name in "abcd"]
    assert [manifest.annotator_digest for manifest in manifests] == digests
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("file", ["model.safetensors", "calibration.json", "config.json", "held_out.parquet"])
def test_a_changed_file_is_refused(storage: LocalStorage, save_tiny: SaveTiny, file: str) -> None:
    save_tiny()
    path: Path = storage.path(f"{FOLDER}/{file}")
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StorageError, match=f"{FOLDER}/{file} differs from its manifest"):
        load_annotator(storage, FOLDER)


def test_an_unfinished_or_foreign_folder_is_refused(storage: LocalStorage, save_tiny: SaveTiny) -> None:
    save_tiny()
    storage.path(f"{FOLDER}/manifest.json").unlink()
    with pytest.raises(WrongInputError, match="annotators/tiny is not complete"):
        load_annotator(storage, FOLDER)
    write_manifest(storage, "data/x", [], data_manifest([], 32))
    with pytest.raises(WrongInputError, match=r"^data/x/manifest\.json: .* holds 'data', expected 'annotator'"):
        load_annotator(storage, "data/x")


def test_saving_twice_gives_the_same_bytes(storage: LocalStorage, save_tiny: SaveTiny) -> None:
    save_tiny()
    before = storage.read(f"{FOLDER}/manifest.json")
    save_tiny()  # write-once: other bytes would raise
    assert storage.read(f"{FOLDER}/manifest.json") == before
    assert read_manifest(storage, FOLDER, AnnotatorManifest).digest == "of the run"


def test_probabilities_are_given_by_label_and_none_if_unusable(pixels: NDArray[np.uint8]) -> None:
    heads = CALIBRATION.heads | {"is_gc": HeadCalibration(num_positive=0, num_negative=9, unusable="test")}
    scorer = NetworkScorer(build_annotator("test_resnet"), SPEC)
    output = Annotator(scorer, Calibration(heads=heads), half_points(), "digest").predict(pixels)
    row = output.probabilities(3)
    assert row["is_gc"] is None
    assert row["is_pm"] == float(output.probability_BV[3, HEAD_NAMES.index("is_pm")])
    grades = row["dr_grade"]
    assert isinstance(grades, list)
    assert sum(grades) == pytest.approx(1.0, abs=1e-6)
    assert sum(grades[2:]) == pytest.approx(float(output.probability_BV[3, 1]), abs=1e-6)
