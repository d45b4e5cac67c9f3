"""A release holds every verified sample and no other, loads with one line, and is made once."""

import io
import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from support.metrics_example import example_annotator_metrics, example_metrics
from support.samples_example import FOLDER, NUM_SAMPLES, REPLACED, SIZE_PX, UNRESOLVED, phantom_samples
from synfundus.digests import sha256_hex
from synfundus.errors import WrongInputError
from synfundus.measures.editions import edition_mark
from synfundus.samples.config import ReleaseConfig
from synfundus.samples.publish import Evidence, publish
from synfundus.samples.shards import SCHEMA
from synfundus.storage import LocalStorage, Storage, open_storage

RELEASE = "releases/demo"
CONFIG = ReleaseConfig(data_statement="Phantoms; no person stands behind any image.")
ACCEPTED = [i for i in range(NUM_SAMPLES) if i != UNRESOLVED]


def evidence(edition: Any = "public") -> Evidence:
    page = f"<html><head>{edition_mark(edition)}</head></html>"
    return Evidence(example_metrics(), example_annotator_metrics(), page)


def folder(storage: Storage) -> Path:
    assert isinstance(storage, LocalStorage)
    return storage.path(RELEASE)


@pytest.fixture
def released(storage: Storage) -> Path:
    phantom_samples(storage)
    summary = publish(storage, FOLDER, RELEASE, CONFIG, evidence())
    assert summary["num_accepted"] == len(ACCEPTED)
    assert summary["num_unresolved"] == 1
    return folder(storage)


def test_only_what_verification_accepted_is_released(released: Path) -> None:
    rows = pq.read_table(released / "data").to_pylist()
    assert sorted(row["sample_id"] for row in rows) == ACCEPTED
    replaced = next(row for row in rows if row["sample_id"] == REPLACED)
    assert replaced["seed"] == 1000 + REPLACED  # attempt 1, not the rejected attempt 0


def test_disagreement_of_the_annotator_removes_nothing(released: Path) -> None:
    """Every flag of every sample is annotated as the opposite of what was asked; all verified samples stay."""
    rows = pq.read_table(released / "data").to_pylist()
    asked = [(row["condition_is_fundus"], row["annotation_is_fundus"]) for row in rows]
    assert all(c != a for c, a in asked)
    assert len(rows) == len(ACCEPTED)


def test_accepted_table_names_attempt_shard_and_hash(storage: Storage, released: Path) -> None:
    table = pq.read_table(released / "accepted.parquet").to_pylist()
    assert [row["sample_id"] for row in table] == ACCEPTED
    assert {row["sample_id"]: row["attempt"] for row in table if row["attempt"]} == {REPLACED: 1}
    for row in table:
        assert sha256_hex(storage.read(f"{FOLDER}/{row['shard']}")) == row["shard_sha256"]
        ids = pq.read_table(released / row["file"], columns=["sample_id"]).column(0).to_pylist()
        assert row["sample_id"] in ids


def test_manifest_names_every_file_and_the_inputs(storage: Storage, released: Path) -> None:
    manifest = json.loads((released / "manifest.json").read_text())
    there = {p.relative_to(released).as_posix() for p in released.rglob("*") if p.is_file()} - {"manifest.json"}
    assert set(manifest["files"]) == there
    for name, entry in manifest["files"].items():
        assert sha256_hex((released / name).read_bytes()) == entry["sha256"]
    assert manifest["inputs"]["samples_manifest_sha256"] == sha256_hex(storage.read(f"{FOLDER}/manifest.json"))
    assert (manifest["inputs"]["generator"], manifest["inputs"]["annotator"]) == ("ab" * 32, "cd" * 32)


def test_loads_with_datasets(released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    datasets.config.HF_DATASETS_OFFLINE = True
    options = {"split": "train", "cache_dir": str(tmp_path / "cache")}
    loaded = datasets.load_dataset("parquet", data_files=str(released / "data" / "*.parquet"), **options)
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded.num_rows == len(ACCEPTED)
    assert loaded[0]["image"].size == (SIZE_PX, SIZE_PX)
    assert loaded[0]["image"].text["Synthetic"] == "yes"
    by_card = datasets.load_dataset(str(released), **options)  # the card's header alone says where the data are
    assert by_card["sample_id"][:] == loaded["sample_id"][:]


def test_loads_with_pandas(released: Path) -> None:
    frame = pd.read_parquet(released / "data")
    assert sorted(frame["sample_id"]) == ACCEPTED
    assert frame["annotation_is_em"].isna().all()
    with Image.open(io.BytesIO(frame["image"][0]["bytes"])) as image:
        assert image.size == (SIZE_PX, SIZE_PX)


def test_loads_with_duckdb(released: Path) -> None:
    query = f"select count(*), sum(condition_is_gc), min(octet_length(image.bytes)) from '{released}/data/*.parquet'"
    found = duckdb.sql(query)
    assert found is not None
    count, glaucoma, smallest = found.fetchall()[0]
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


def test_same_input_gives_the_same_bytes(released: Path, tmp_path: Path) -> None:
    other = open_storage(str(tmp_path / "other"))
    phantom_samples(other)
    publish(other, FOLDER, RELEASE, CONFIG, evidence())
    files = sorted(p.relative_to(released) for p in released.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(folder(other)) for p in folder(other).rglob("*") if p.is_file())
    assert all((released / f).read_bytes() == (folder(other) / f).read_bytes() for f in files)


def test_a_second_run_changes_nothing_and_an_interrupted_one_goes_on(storage: Storage, released: Path) -> None:
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in released.rglob("*") if p.is_file()}
    first = publish(storage, FOLDER, RELEASE, CONFIG, evidence())
    assert before == {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in released.rglob("*") if p.is_file()}
    (released / "manifest.json").unlink()
    (released / "README.md").unlink()
    assert publish(storage, FOLDER, RELEASE, CONFIG, evidence()) == first
    assert {p: p.read_bytes() for p in before} == {p: data for p, (_, data) in before.items()}


def test_a_name_used_for_another_release_is_refused(storage: Storage, released: Path) -> None:
    other = ReleaseConfig(data_statement="Somebody else's.")
    with pytest.raises(WrongInputError, match=r"releases/demo exists and was made from other input \(settings\)"):
        publish(storage, FOLDER, RELEASE, other, evidence())
    (released / "manifest.json").unlink()
    with pytest.raises(WrongInputError, match="was begun from other samples or settings"):
        publish(storage, FOLDER, RELEASE, other, evidence())


def test_the_private_report_is_refused(storage: Storage) -> None:
    phantom_samples(storage)
    with pytest.raises(WrongInputError, match="not the public edition"):
        publish(storage, FOLDER, RELEASE, CONFIG, evidence("private"))
    assert not folder(storage).exists()


def test_unfinished_samples_are_refused(storage: Storage) -> None:
    with pytest.raises(WrongInputError, match="samples/demo is not complete"):
        publish(storage, FOLDER, RELEASE, CONFIG, evidence())


def test_release_of_real_data_needs_a_statement() -> None:
    with pytest.raises(ValueError, match="data_statement"):
        ReleaseConfig.model_validate({})
