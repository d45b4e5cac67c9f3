"""A release as a source: its accepted samples with the chosen labels, and no release that is not whole and public."""

import json
import pickle
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from support.release_example import RELEASE, copying_metrics, publish_example
from support.samples_example import FOLDER, NUM_SAMPLES, REPLACED, SIZE_PX, UNRESOLVED, phantom_samples
from synfundus.digests import sha256_hex
from synfundus.errors import WrongInputError
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.listing import listing_digest, merge_listings
from synfundus.fundus.listing_summary import source_rows
from synfundus.fundus.origin import OTHER_SOURCES, Origin, merge_origins
from synfundus.fundus.preprocess import Prepared
from synfundus.fundus.shard import decode_pixels
from synfundus.fundus.sources import SourceListing
from synfundus.fundus.sources.phantom import PhantomSource
from synfundus.fundus.sources.release import DATA, ReleaseSource
from synfundus.fundus.staging import load_and_prepare
from synfundus.labels import LABEL_NAMES, SampleLabels, apply_rules, choose_labels
from synfundus.measures.editions import edition_mark
from synfundus.samples.manifest import ReleaseManifest
from synfundus.samples.release_config import ReleaseConfig
from synfundus.storage import LocalStorage, Storage, manifest_digest, open_storage, read_manifest

CONFIG = ReleaseConfig(
    title="Eyes of nobody",
    version="2.1.0",
    licence="CC-BY-4.0",
    data_statement="Photographs of Nowhere Hospital.",
    date_published=date(2026, 11, 27),
)
SHARD = f"{DATA}shard-00000.parquet"
ACCEPTED = [i for i in range(NUM_SAMPLES) if i != UNRESOLVED]


@pytest.fixture
def released(storage: Storage) -> Path:
    """Folder of a release of phantoms."""
    phantom_samples(storage)
    publish_example(storage, RELEASE, CONFIG)
    assert isinstance(storage, LocalStorage)
    return storage.path(RELEASE)


def listing(path: Path, labels: SampleLabels = "requested") -> SourceListing:
    return ReleaseSource(layout="release", path=str(path), labels=labels).listing()


def sample_ids(found: SourceListing) -> list[int]:
    return [int(record.name.rpartition("/")[2]) for record in found.records]


def edit_manifest(released: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest as somebody does who can also write its digests."""
    file = released / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


def refused(path: Path) -> str:
    """Return the line with which the listing of a release is refused."""
    with pytest.raises(WrongInputError) as raised:
        listing(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_accepted_samples_are_listed_once_with_the_bytes_of_the_release(released: Path) -> None:
    rows = {row["sample_id"]: row for row in pq.read_table(released / "data").to_pylist()}
    found = listing(released)
    assert [record.name for record in found.records] == sorted(record.name for record in found.records)
    assert sorted(sample_ids(found)) == ACCEPTED
    for sample_id, record in zip(sample_ids(found), found.records, strict=True):
        assert record.load() == rows[sample_id]["image"]["bytes"]
    assert rows[REPLACED]["seed"] == 1000 + REPLACED, "the accepted attempt, not the rejected one"


@pytest.mark.parametrize("labels", ["requested", "predicted", "agreeing"])
def test_the_setting_says_which_labels_are_taken(released: Path, labels: SampleLabels) -> None:
    rows = {row["sample_id"]: row for row in pq.read_table(released / "data").to_pylist()}
    found = listing(released, labels)
    num_known = 0
    for sample_id, record in zip(sample_ids(found), found.records, strict=True):
        requested, predicted = (
            {name: rows[sample_id][f"{kind}_{name}"] for name in LABEL_NAMES} for kind in ("condition", "annotation")
        )
        agreed = {name: value if predicted[name] == value else None for name, value in requested.items()}
        expected = {"requested": requested, "predicted": predicted, "agreeing": agreed}[labels]
        assert record.labels == apply_rules(expected)
        num_known += sum(value is not None for value in expected.values())
    assert (num_known > 0) == (labels != "agreeing"), "the example predicts the opposite of each request"
    assert f"condition_{LABEL_NAMES[0]}" in found.label_columns[LABEL_NAMES[0]] or labels == "predicted"


def test_agreed_labels_are_those_with_one_value_in_both() -> None:
    requested = {"dr_grade": 2, "eye_side": 1, "is_amd": 0, "is_gc": None, "is_fundus": 1}
    predicted = {"dr_grade": 3, "eye_side": 1, "is_amd": 0, "is_gc": 1, "is_fundus": 1}
    agreed = choose_labels(requested, predicted, "agreeing")
    assert {name: value for name, value in agreed.items() if value is not None} == {
        "eye_side": 1,
        "is_amd": 0,
        "is_fundus": 1,
    }


def test_no_patient_is_named_and_the_summary_says_so(released: Path) -> None:
    found = listing(released)
    assert not found.has_patients
    assert {record.patient_id for record in found.records} == {None}
    rows = dict(source_rows(found))
    assert rows["patients"] == "no patient is named: each image counts as a patient"
    assert sha256_hex((released / "manifest.json").read_bytes()) in rows["release"]


def test_the_origin_is_that_of_the_manifest(storage: Storage, released: Path) -> None:
    (release,) = listing(released, "predicted").origin.releases
    manifest = read_manifest(storage, RELEASE, ReleaseManifest)
    assert release.manifest_sha256 == manifest_digest(manifest) == sha256_hex(storage.read(f"{RELEASE}/manifest.json"))
    assert (release.title, release.version, release.licence) == (CONFIG.title, CONFIG.version, CONFIG.licence)
    assert (release.generator_digest, release.num_images) == (manifest.inputs.generator_digest, len(ACCEPTED))
    assert (release.labels, release.made_from) == ("predicted", OTHER_SOURCES)
    assert listing(released).origin.only_releases


def test_a_release_of_a_release_names_both(released: Path, tmp_path: Path) -> None:
    first = listing(released).origin
    second = open_storage(str(tmp_path / "second"))
    phantom_samples(second, first)
    publish_example(second, RELEASE, CONFIG)
    (release,) = listing(tmp_path / "second" / RELEASE).origin.releases
    assert release.made_from == first


def test_an_overridden_privacy_gate_travels_along_the_chain(storage: Storage, tmp_path: Path) -> None:
    phantom_samples(storage)
    words = "The board takes sample 17 for a coincidence."
    overriding = CONFIG.model_copy(update={"privacy_override": words})
    publish_example(storage, RELEASE, overriding, metrics=copying_metrics())
    assert isinstance(storage, LocalStorage)
    first = listing(storage.path(RELEASE)).origin
    override = first.releases[0].gate_override
    assert override is not None
    assert override.words == words
    assert "1 of 800 accepted samples that were compared again are nearer" in override.reasons[0]

    second = open_storage(str(tmp_path / "second"))
    phantom_samples(second, first)
    publish_example(second, RELEASE, CONFIG)
    (release,) = listing(tmp_path / "second" / RELEASE).origin.releases
    assert (release.gate_override, release.made_from.releases[0].gate_override) == (None, override)
    assert words in (tmp_path / "second" / RELEASE / "README.md").read_text()


def test_origins_of_several_sources_are_one(released: Path) -> None:
    release, phantoms = listing(released), PhantomSource(layout="phantom", num_images=2).listing()
    merged = merge_listings([release, phantoms]).origin
    assert merged == Origin(releases=release.origin.releases, has_other_sources=True)
    assert not merged.only_releases
    assert merge_origins([release.origin, release.origin]) == release.origin
    assert merge_origins([OTHER_SOURCES]) == OTHER_SOURCES


def test_the_digest_depends_on_the_release_but_not_on_its_place(released: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(released, tmp_path / "elsewhere" / "copy")
    here = listing(released)
    assert listing_digest(listing(copy).records) == listing_digest(here.records)
    edit_manifest(copy, lambda manifest: manifest["inputs"]["config"].update(title="Other eyes"))
    assert listing_digest(listing(copy).records) != listing_digest(here.records)


def test_a_reference_travels_to_another_process(released: Path) -> None:
    record = listing(released).records[-1]
    assert pickle.loads(pickle.dumps(record)).load() == record.load()


def test_an_image_of_the_size_of_the_dataset_is_prepared_without_a_change(released: Path) -> None:
    """At its own size, an image has been cropped to its field of view already."""
    records = listing(released).records
    fundus = [record for record in records if record.labels["is_fundus"] == 1]
    assert fundus
    for record in fundus:
        _, prepared = load_and_prepare(record, PrepareConfig(size_px=SIZE_PX))
        assert isinstance(prepared, Prepared), prepared
        assert np.array_equal(prepared.pixels_HWC, decode_pixels(record.load()))


# Releases that are not whole, or not public


def test_a_shard_with_one_other_byte_is_refused_before_an_image_is_used(released: Path) -> None:
    file = released / SHARD
    content = bytearray(file.read_bytes())
    position = content.index(b"IDAT") + 8
    content[position] ^= 1
    file.write_bytes(content)
    found = listing(released)
    changed = [record for record in found.records if "/shard-00000/" in record.name]
    assert changed
    for record in changed:
        with pytest.raises(WrongInputError, match=rf"^{file}: its SHA-256 is not that .*; fetch the release again$"):
            record.load()


def test_a_shard_of_another_size_is_refused(released: Path) -> None:
    file = released / SHARD
    size_bytes = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-1])
    assert refused(released).startswith(f"{file}: {size_bytes - 1} bytes, {size_bytes} in the release's manifest;")


def test_a_shard_that_is_no_table_is_refused(released: Path) -> None:
    file = released / SHARD
    file.write_bytes(bytes(file.stat().st_size))
    assert refused(released).startswith(f"{file}: no Parquet file of a release (")


def test_a_missing_shard_is_refused(released: Path) -> None:
    (released / SHARD).unlink()
    assert refused(released).startswith(f"{released / SHARD}: no such file, but the release's manifest names it;")


def test_a_manifest_without_a_shard_is_refused(released: Path) -> None:
    edit_manifest(released, lambda manifest: manifest["files"].pop(SHARD))
    assert refused(released).startswith(f"{released}: 7 images, {len(ACCEPTED)} in manifest.json;")


def test_a_missing_manifest_is_refused(released: Path) -> None:
    (released / "manifest.json").unlink()
    assert refused(released) == (
        f"{released}: no manifest.json in it, so this is no complete release; name a folder that `synfundus publish`"
        " wrote"
    )


@pytest.mark.parametrize("is_in_manifest", [False, True])
def test_a_private_report_is_refused(released: Path, is_in_manifest: bool) -> None:
    page = edition_mark("private").encode()
    (released / "report.html").write_bytes(page)
    if is_in_manifest:
        entry = {"size_bytes": len(page), "sha256": sha256_hex(page)}
        edit_manifest(released, lambda manifest: manifest["files"].update({"report.html": entry}))
    assert refused(released).startswith(f"{released / 'report.html'}: not the public edition of a report")


def test_another_public_report_is_refused(released: Path) -> None:
    file = released / "report.html"
    file.write_bytes(file.read_bytes().replace(b"html", b"HTML"))
    assert refused(released).startswith(f"{file}: its SHA-256 is not that of the release's manifest;")


def test_the_samples_themselves_are_refused(storage: Storage, released: Path) -> None:
    """They hold rejected images, which may resemble a photograph of a patient."""
    assert isinstance(storage, LocalStorage)
    folder = storage.path(FOLDER)
    assert refused(folder) == f"{folder}: this folder holds no release; name one below `releases/`"


def test_a_manifest_of_another_version_is_refused(released: Path) -> None:
    edit_manifest(released, lambda manifest: manifest["inputs"].pop("generator_digest"))
    assert refused(released).startswith(f"{released}: manifest.json is not that of a release of this version;")


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere").startswith(f"{tmp_path / 'nowhere'}: no such folder")
