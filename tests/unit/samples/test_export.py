"""The export in the layout of SynFundus-1M keeps images unchanged and has the keys that public programs read."""

import csv
import subprocess
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from support.release_example import RELEASE, publish_example
from support.samples_example import NUM_SAMPLES, UNRESOLVED, phantom_samples
from synfundus.labels import LABEL_NAMES
from synfundus.samples.export import SynFundusExport
from synfundus.samples.image_file import encode_image
from synfundus.samples.release_config import ReleaseConfig
from synfundus.samples.shards import Sample, decode_shard, encode_shard
from synfundus.storage import LocalStorage, Storage

CONFIG = ReleaseConfig(data_statement="Phantoms.", date_published=date(2026, 11, 27), synfundus_export=True)


@pytest.fixture
def release(storage: Storage) -> Path:
    phantom_samples(storage)
    publish_example(storage, RELEASE, CONFIG)
    assert isinstance(storage, LocalStorage)
    return storage.path(f"{RELEASE}")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_hold_conditions_and_annotations(release: Path) -> None:
    folder = release / "synfundus-1m"
    predicted = read(folder / "SynFundus-1M_annotation.csv")
    requested = read(folder / "SynFundus-1M_gen_cond.csv")
    assert list(predicted[0]) == ["file_name", *LABEL_NAMES]
    assert list(requested[0]) == ["idx", *LABEL_NAMES]
    rows = sorted(pq.read_table(release / "data").to_pylist(), key=lambda row: int(row["sample_id"]))
    assert len(rows) == len(predicted) == len(requested) == NUM_SAMPLES - 1
    for row, p, r in zip(rows, predicted, requested, strict=True):
        assert p["file_name"] == f"{r['idx']}.png" == f"{row['sample_id']:09d}.png"
        assert (folder / "Fundus" / p["file_name"]).read_bytes() == row["image"]["bytes"]
        for name in LABEL_NAMES:
            assert p[name] == ("" if row[f"annotation_{name}"] is None else str(row[f"annotation_{name}"]))
            assert r[name] == ("" if row[f"condition_{name}"] is None else str(row[f"condition_{name}"]))
    assert not (folder / "Fundus" / f"{UNRESOLVED:09d}.png").exists()


def test_checksums_hold_for_every_file(release: Path) -> None:
    folder = release / "synfundus-1m"
    checked = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    named = {line.split("  ", 1)[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    assert named == {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {"SHA256SUMS"}


@pytest.mark.parametrize(("image_format", "ending"), [("webp", ".webp"), ("jpeg", ".jpg")])
def test_file_names_have_the_ending_of_the_image_format(storage: Storage, image_format: str, ending: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    image = encode_image(pixels, image_format, seed=1, model="ab")  # type: ignore[arg-type]
    sample = Sample(0, image, dict.fromkeys(LABEL_NAMES), dict.fromkeys(LABEL_NAMES), np.zeros(19, np.float32), 1)
    export = SynFundusExport(storage, "releases/x")
    export.add(decode_shard(encode_shard([sample])))
    export.close()
    assert storage.read(f"releases/x/synfundus-1m/Fundus/000000000{ending}") == image
