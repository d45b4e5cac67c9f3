"""`croissant.json` is valid Croissant, and mlcroissant loads the samples from it."""

import json
import logging
from datetime import datetime
from pathlib import Path

import mlcroissant as mlc
import pytest

from support.release_example import RELEASE, publish_example
from support.samples_example import NUM_SAMPLES, SIZE_PX, phantom_samples
from synfundus.digests import sha256_hex
from synfundus.samples.manifest import ReleaseManifest
from synfundus.samples.release_config import ReleaseConfig
from synfundus.stages.publish import PublishSummary
from synfundus.storage import LocalStorage, Storage, read_manifest

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


REQUIRED = ("@context", "@type", "conformsTo", "creator", "datePublished", "description", "license", "name", "url")
"""Fields of a dataset that the specification of Croissant 1.0 requires."""


def test_the_required_fields_are_there_and_the_date_is_that_of_the_settings(path: Path) -> None:
    document = json.loads(path.read_text())
    assert [field for field in REQUIRED if field not in document] == []
    assert document["datePublished"] == "2026-11-24"
    assert mlc.Dataset(jsonld=path).metadata.date_published == datetime(2026, 11, 24)
    assert document["recordSet"][0]["key"] == {"@id": "samples/sample_id"}


def test_a_release_without_authors_and_page_is_valid_and_the_missing_fields_are_named(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    few = ReleaseConfig.model_validate({"data_statement": "Phantoms.", "date_published": "2026-11-24"})
    phantom_samples(storage)
    publish_example(storage, RELEASE, few)
    assert isinstance(storage, LocalStorage)
    path = storage.path(f"{RELEASE}/croissant.json")
    with caplog.at_level(logging.WARNING):
        dataset = mlc.Dataset(jsonld=path)
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings
    missing = [field for field in REQUIRED if field not in json.loads(path.read_text())]
    assert missing == [text.partition(" ")[0] for text in few.missing_in_croissant] == ["creator", "url"]
    assert CONFIG.missing_in_croissant == []


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


def test_the_screen_of_publish_names_the_fields_that_croissant_lacks(storage: Storage) -> None:
    few = ReleaseConfig.model_validate({"data_statement": "Phantoms.", "date_published": "2026-11-24"})
    phantom_samples(storage)
    for folder, config, shown in (("releases/few", few, True), (RELEASE, CONFIG, False)):
        publish_example(storage, folder, config)
        manifest = read_manifest(storage, folder, ReleaseManifest)
        rows = dict(PublishSummary(manifest, storage.uri(folder)).rows())
        assert ("not in croissant.json" in rows) is shown
        if shown:
            text = "creator (release.authors), url (release.homepage); Croissant requires them"
            assert rows["not in croissant.json"] == text
