"""`croissant.json` is valid Croissant, and mlcroissant loads the samples from it."""

import json
import logging
from pathlib import Path

import mlcroissant as mlc
import pytest

from support.release_example import RELEASE, publish_example
from support.samples_example import NUM_SAMPLES, SIZE_PX, phantom_samples
from synfundus.digests import sha256_hex
from synfundus.samples.release_config import ReleaseConfig
from synfundus.storage import LocalStorage, Storage

# mlcroissant calls functions that rdflib and pandas have deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index:DeprecationWarning"),
]

CONFIG = ReleaseConfig.model_validate(
    {
        "data_statement": "Phantoms; no person is shown in any image.",
        "authors": ["A. Author"],
        "homepage": "https://example.org/release",
        "date_published": "2026-11-24",
    }
)


@pytest.fixture
def path(storage: Storage) -> Path:
    phantom_samples(storage)
    publish_example(storage, RELEASE, CONFIG)
    assert isinstance(storage, LocalStorage)
    return storage.path(f"{RELEASE}/croissant.json")


def test_croissant_is_valid_without_error_or_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = mlc.Dataset(jsonld=path)
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings
    assert dataset.metadata.version == "1.0.0"
    assert dataset.metadata.license == ["https://spdx.org/licenses/CC-BY-NC-4.0.html"]
    assert dataset.metadata.data_limitations
    assert dataset.metadata.personal_sensitive_information


def test_records_are_the_samples(path: Path) -> None:
    records = list(mlc.Dataset(jsonld=path).records("samples"))
    assert len(records) == NUM_SAMPLES - 1
    first = records[0]
    assert first["samples/image"].size == (SIZE_PX, SIZE_PX)
    assert len(first["samples/probability_dr_grade"]) == 5
    assert {record["samples/condition_eye_side"] for record in records} <= {0, 1, None}


def test_every_file_has_its_sha256(path: Path) -> None:
    document = json.loads(path.read_text())
    files = [entry for entry in document["distribution"] if entry["@type"] == "cr:FileObject"]
    assert len(files) == 4
    for entry in files:
        assert sha256_hex((path.parent / entry["contentUrl"]).read_bytes()) == entry["sha256"]
