"""A release holds every accepted sample and no other, loads with common libraries, and is written once."""

import io
import json
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from support.metrics_example import example_metrics
from support.privacy_example import example_audit
from support.release_example import RELEASE, copying_metrics, publish_example
from support.samples_example import (
    ANNOTATOR,
    FOLDER,
    GENERATOR,
    NUM_SAMPLES,
    REPLACED,
    SIZE_PX,
    UNRESOLVED,
    phantom_samples,
)
from synfundus.digests import sha256_hex
from synfundus.errors import WrongInputError
from synfundus.evaluation.privacy_gate import privacy_verdict
from synfundus.measures.editions import is_public
from synfundus.samples.release_config import ReleaseConfig
from synfundus.samples.shards import SCHEMA
from synfundus.storage import LocalStorage, Storage, open_storage

CONFIG = ReleaseConfig(data_statement="Phantoms; no person is shown in any image.", date_published=date(2026, 11, 27))
ACCEPTED = [i for i in range(NUM_SAMPLES) if i != UNRESOLVED]


def folder(storage: Storage) -> Path:
    assert isinstance(storage, LocalStorage)
    return storage.path(RELEASE)


@pytest.fixture
def released(storage: Storage) -> Path:
    phantom_samples(storage)
    summary = publish_example(storage, RELEASE, CONFIG).summary
    assert (summary.num_accepted, summary.num_unresolved) == (len(ACCEPTED), 1)
    return folder(storage)


def test_only_accepted_samples_are_released(released: Path) -> None:
    rows = pq.read_table(released / "data").to_pylist()
    assert sorted(row["sample_id"] for row in rows) == ACCEPTED
    replaced = next(row for row in rows if row["sample_id"] == REPLACED)
    assert replaced["seed"] == 1000 + REPLACED  # attempt 1, not the rejected attempt 0


def test_a_sample_that_the_annotator_disagrees_with_is_released(released: Path) -> None:
    """The annotator predicts the opposite of every requested flag; all accepted samples are released nevertheless."""
    rows = pq.read_table(released / "data").to_pylist()
    pairs = [(row["condition_is_fundus"], row["annotation_is_fundus"]) for row in rows]
    assert all(c != a for c, a in pairs)
    assert len(rows) == len(ACCEPTED)


def test_accepted_table_names_attempt_shard_and_sha256(storage: Storage, released: Path) -> None:
    table = pq.read_table(released / "accepted.parquet").to_pylist()
    assert [row["sample_id"] for row in table] == ACCEPTED
    assert {row["sample_id"]: row["attempt"] for row in table if row["attempt"]} == {REPLACED: 1}
    for row in table:
        assert sha256_hex(storage.read(f"{FOLDER}/{row['shard']}")) == row["shard_sha256"]
        ids = pq.read_table(released / row["file"], columns=["sample_id"]).column(0).to_pylist()
        assert row["sample_id"] in ids


def test_manifest_names_every_file_and_the_inputs(storage: Storage, released: Path) -> None:
    manifest = json.loads((released / "manifest.json").read_text())
    found = {p.relative_to(released).as_posix() for p in released.rglob("*") if p.is_file()} - {"manifest.json"}
    assert set(manifest["files"]) == found
    for name, entry in manifest["files"].items():
        assert sha256_hex((released / name).read_bytes()) == entry["sha256"]
    assert manifest["inputs"]["samples_manifest_sha256"] == sha256_hex(storage.read(f"{FOLDER}/manifest.json"))
    assert manifest["inputs"]["generator_digest"] == GENERATOR
    assert manifest["inputs"]["annotator_digest"] == ANNOTATOR


def test_loads_with_datasets(released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    datasets.config.HF_DATASETS_OFFLINE = True
    options = {"split": "train", "cache_dir": str(tmp_path / "cache")}
    loaded = datasets.load_dataset("parquet", data_files=str(released / "data" / "*.parquet"), **options)
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded.num_rows == len(ACCEPTED)
    assert loaded[0]["image"].size == (SIZE_PX, SIZE_PX)
    assert loaded[0]["image"].text["Synthetic"] == "yes"
    by_card = datasets.load_dataset(str(released), **options)  # by the card's header, which names the data files
    assert by_card["sample_id"][:] == loaded["sample_id"][:]


def test_loads_with_pandas(released: Path) -> None:
    frame = pd.read_parquet(released / "data")
    assert sorted(frame["sample_id"]) == ACCEPTED
    assert frame["annotation_is_em"].isna().all()
    with Image.open(io.BytesIO(frame["image"][0]["bytes"])) as image:
        assert image.size == (SIZE_PX, SIZE_PX)


def test_loads_with_duckdb(released: Path) -> None:
    query = f"select count(*), sum(condition_is_gc), min(octet_length(image.bytes)) from '{released}/data/*.parquet'"
    result = duckdb.sql(query)
    assert result is not None
    count, glaucoma, smallest = result.fetchall()[0]
    rows = pq.read_table(released / "data").to_pylist()
    assert (count, glaucoma) == (len(ACCEPTED), sum(row["condition_is_gc"] or 0 for row in rows))
    assert smallest > 100


def test_released_shards_keep_schema_and_order(released: Path) -> None:
    for path in sorted((released / "data").iterdir()):
        table = pq.read_table(path)
        assert table.schema.equals(SCHEMA)
        assert table.schema.metadata == SCHEMA.metadata
        ids = table.column("sample_id").to_numpy()
        assert (np.diff(ids) > 0).all()


def test_equal_inputs_give_equal_bytes(released: Path, tmp_path: Path) -> None:
    other = open_storage(str(tmp_path / "other"))
    phantom_samples(other)
    publish_example(other, RELEASE, CONFIG)
    files = sorted(p.relative_to(released) for p in released.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(folder(other)) for p in folder(other).rglob("*") if p.is_file())
    assert all((released / f).read_bytes() == (folder(other) / f).read_bytes() for f in files)


def test_a_second_run_changes_nothing_and_an_interrupted_one_is_completed(storage: Storage, released: Path) -> None:
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in released.rglob("*") if p.is_file()}
    first = publish_example(storage, RELEASE, CONFIG)
    assert before == {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in released.rglob("*") if p.is_file()}
    (released / "manifest.json").unlink()
    (released / "README.md").unlink()
    assert publish_example(storage, RELEASE, CONFIG) == first
    assert {p: p.read_bytes() for p in before} == {p: data for p, (_, data) in before.items()}


def test_a_folder_with_another_release_is_refused(storage: Storage, released: Path) -> None:
    other = ReleaseConfig(data_statement="Photographs of another hospital.", date_published=date(2026, 11, 27))
    before = {p: p.read_bytes() for p in released.rglob("*") if p.is_file()}
    with pytest.raises(WrongInputError, match="releases/demo was begun with other samples or settings"):
        publish_example(storage, RELEASE, other)
    assert before == {p: p.read_bytes() for p in released.rglob("*") if p.is_file()}
    (released / "manifest.json").unlink()  # as after an interruption
    with pytest.raises(WrongInputError, match="releases/demo was begun with other samples or settings"):
        publish_example(storage, RELEASE, other)
    assert not (released / "manifest.json").exists()


def test_the_private_edition_of_the_report_is_refused(storage: Storage) -> None:
    phantom_samples(storage)
    with pytest.raises(WrongInputError, match="not the public edition"):
        publish_example(storage, RELEASE, CONFIG, "private")
    assert not folder(storage).exists()


def test_a_release_whose_privacy_gate_fails_is_refused_with_reasons(storage: Storage) -> None:
    phantom_samples(storage)
    with pytest.raises(WrongInputError, match=r"privacy gate: failed, .*copy a photograph of a patient\? 1 of 800 acc"):
        publish_example(storage, RELEASE, CONFIG, metrics=copying_metrics())
    assert not folder(storage).exists()


def test_an_override_of_the_privacy_gate_is_printed_on_the_card(storage: Storage) -> None:
    phantom_samples(storage)
    words = "The board of Nowhere Hospital looked at sample 17 and takes it for a coincidence."
    publish_example(storage, RELEASE, CONFIG.model_copy(update={"privacy_override": words}), metrics=copying_metrics())
    card = (folder(storage) / "README.md").read_text()
    assert words in card
    assert "The privacy gate **failed**." in card
    assert "1 of 800 accepted samples that were compared again are nearer" in card
    assert "may not be released" in (folder(storage) / "privacy.html").read_text()


def test_the_card_of_a_generator_with_initial_weights_limits_the_comparison_to_its_study(storage: Storage) -> None:
    phantom_samples(storage)
    metrics = example_metrics()
    audit = example_audit(initial_weights=True)
    metrics = metrics.model_copy(update={"audit": audit, "verdict": privacy_verdict(metrics.privacy, audit)})
    override = "The weights were trained on phantoms alone."
    publish_example(storage, RELEASE, CONFIG.model_copy(update={"privacy_override": override}), metrics=metrics)
    card = (folder(storage) / "README.md").read_text()
    assert "every training image of this study" in card
    assert "- Do samples repeat photographs behind the initial weights? The training started from other weights" in card


def test_the_card_of_a_passed_gate_says_so_and_its_page_is_released(released: Path) -> None:
    assert "The privacy gate **passed**" in (released / "README.md").read_text()
    assert is_public((released / "privacy.html").read_text())


def test_words_for_an_override_that_is_not_needed_do_not_count_as_one(storage: Storage) -> None:
    phantom_samples(storage)
    assert (
        publish_example(storage, RELEASE, CONFIG.model_copy(update={"privacy_override": "In case."})).override is None
    )


@pytest.mark.parametrize("words", ["", "  "])
def test_an_override_needs_words(words: str) -> None:
    with pytest.raises(ValidationError, match="privacy_override"):
        ReleaseConfig(data_statement="Phantoms.", date_published=date(2026, 11, 27), privacy_override=words)


def test_unfinished_samples_are_refused(storage: Storage) -> None:
    with pytest.raises(WrongInputError, match="samples/demo is not complete"):
        publish_example(storage, RELEASE, CONFIG)
