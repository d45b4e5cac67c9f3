"""A prepared dataset and accepted samples of phantoms, and the settings of tiny cells."""

import shutil
from pathlib import Path

import pytest

from support.datasets_of_phantoms import phantom_dataset
from support.samples_example import FOLDER, phantom_samples
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.fundus.manifest import DataManifest
from synfundus.resources import TrainingResources
from synfundus.samples.manifest import SamplesManifest
from synfundus.storage import LocalStorage, Storage, manifest_digest, open_storage, read_manifest
from synfundus.transfer.grid import GridInputs
from synfundus.transfer.sources import CellPlaces

CNN, VIT = "test_resnet", "test_vit"
"""timm's own small networks."""


@pytest.fixture
def annotator() -> AnnotatorConfig:
    return AnnotatorConfig(
        architecture=CNN,
        image_size_px=32,
        num_steps=4,
        batch_size=8,
        learning_rate=3e-3,
        resources=TrainingResources(precision="fp32", num_threads=1),
    )


@pytest.fixture(scope="session")
def phantom_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with 80 phantoms in `data/p` and 11 accepted samples in `samples/demo`. Tests copy it."""
    root = tmp_path_factory.mktemp("phantoms") / "root"
    storage = open_storage(str(root))
    phantom_dataset(storage, "data/p", 80, 32)
    phantom_samples(storage)
    return root


@pytest.fixture
def inputs(storage: Storage, phantom_root: Path) -> GridInputs:
    """Digests of the phantoms and samples in a root of this test's own."""
    assert isinstance(storage, LocalStorage)
    shutil.copytree(phantom_root, storage.path("."), dirs_exist_ok=True)
    data = read_manifest(storage, "data/p", DataManifest)
    return GridInputs(manifest_digest(data), manifest_digest(read_manifest(storage, FOLDER, SamplesManifest)))


@pytest.fixture
def places(storage: Storage, inputs: GridInputs) -> CellPlaces:
    return CellPlaces(storage, "data/p", FOLDER, {}, {})
