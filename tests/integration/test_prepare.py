"""`prepare` on real Ray Data: from files of every kind to a dataset, twice, interrupted, and with wrong input."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.failing_storage import FullDisk
from support.fundus_photographs import cropped, encoded, photograph
from synfundus.environment import Environment
from synfundus.errors import StorageError, WrongInputError
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.sources import SourceListing
from synfundus.fundus.sources.folder import FolderSource
from synfundus.fundus.splits import SPLITS
from synfundus.stages.prepare import prepare
from synfundus.storage import Storage, is_complete, open_storage, read_manifest

pytestmark = pytest.mark.usefixtures("ray_session")

CONFIG = PrepareConfig(size_px=64, shard_rows=5)
FOLDER = "data/clinic"
KEY = "a secret of at least sixteen characters"
NUM_GOOD = 12


class Heard:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.done: list[int] = []

    def update(self, done: int, note: str = "") -> None:
        self.done.append(done)


def settings(key: str | None = KEY) -> Environment:
    return Environment(patient_key=key, real_data=None, config_home=Path("/nonexistent"))


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photographs of six patients, one no-fundus picture, and everything that can be wrong."""
    folder = tmp_path_factory.mktemp("clinic")
    (folder / "images").mkdir()
    rows: list[dict[str, object]] = []

    def put(name: str, data: bytes, patient: str, **labels: object) -> None:
        (folder / "images" / name).write_bytes(data)
        rows.append({"file_name": name, "patient_id": patient, **labels})

    for i in range(NUM_GOOD):
        data = encoded(photograph(i), "JPEG", quality=92)
        put(f"good{i:02d}.jpg", data, f"Doe-{i // 2}", eye_side=i % 2, dr_grade=i % 5, is_fundus=1)
    put("lens_cap.png", encoded(Image.new("RGB", (300, 200))), "Doe-9", is_fundus=0)
    put("blank.png", encoded(Image.new("RGB", (300, 200))), "Doe-9")
    put("copy.jpg", (folder / "images/good00.jpg").read_bytes(), "Doe-0", eye_side=1, is_fundus=1)
    small = cropped(photograph(1).resize((300, 200)), 0.03, 0.0, 1.0)
    put("small_copy.jpg", encoded(small, "JPEG", quality=70), "Doe-0", eye_side=1)
    put("cut.jpg", encoded(photograph(20), "JPEG")[:4000], "Doe-8")
    put("tiny.png", encoded(photograph(21).resize((24, 16))), "Doe-8")
    put("notes.jpg", b"these are words", "Doe-8")
    damaged = bytearray(encoded(photograph(22)))
    damaged[len(damaged) // 2] ^= 0xFF
    put("damaged.png", bytes(damaged), "Doe-8")
    rows.append({"file_name": "lost.jpg", "patient_id": "Doe-7"})
    (folder / "images" / "stray.png").write_bytes(encoded(photograph(23)))
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file_name", "patient_id", "eye_side", "dr_grade", "is_fundus"])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def listing(folder: Path) -> SourceListing:
    return FolderSource(layout="folder", path=str(folder)).listing()


def contents(storage: Storage) -> dict[str, bytes]:
    return {name: storage.read(name) for name in storage.names("data")}


@pytest.fixture(scope="module")
def done(clinic: Path, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """The clinic's images, prepared without disturbance."""
    storage = open_storage(str(tmp_path_factory.mktemp("root")))
    heard = Heard()
    prepare(storage, FOLDER, [listing(clinic)], CONFIG, settings(), "d", heard)
    assert heard.done == sorted(heard.done)
    assert heard.done[-1] == NUM_GOOD + 9
    return storage


def test_every_image_is_kept_or_rejected_for_its_reason(done: Storage) -> None:
    report = json.loads(done.read(f"{FOLDER}/rejected.json"))
    reasons = {Path(row["name"]).name: row["reason"] for row in report["images"]}
    assert reasons == {
        "blank.png": "no_field_of_view",
        "copy.jpg": "exact_duplicate",
        "small_copy.jpg": "near_duplicate",
        "cut.jpg": "truncated",
        "tiny.png": "too_small",
        "notes.jpg": "not_an_image",
        "damaged.png": "unreadable",
    }
    assert {k: v for k, v in report["counts"].items() if v} == dict.fromkeys(set(reasons.values()), 1)
    twins = {Path(row["name"]).name: row for row in report["images"] if "twin" in row}
    assert Path(twins["copy.jpg"]["twin"]).name == "good00.jpg"
    assert twins["copy.jpg"]["conflicts"] == {"eye_side": [0, 1]}
    assert Path(twins["small_copy.jpg"]["twin"]).name == "good01.jpg"
    assert [line.rsplit(": ", 1)[1] for line in report["rows_without_image"]] == ["lost.jpg"]
    assert [Path(name).name for name in report["images_without_row"]] == ["stray.png"]


def test_the_dataset_reads_and_no_patient_straddles(done: Storage) -> None:
    images = PreparedImages(done, FOLDER)
    sides: dict[str, set[str]] = {}
    total = 0
    for split in SPLITS:
        for batch in images.batches(split, 4):
            total += len(batch)
            assert batch.images_BHWC.shape[1:] == (64, 64, 3)
            for patient in batch.patients:
                sides.setdefault(patient, set()).add(split)
    manifest = read_manifest(done, FOLDER)
    assert total == sum(manifest["num_images"].values()) == NUM_GOOD + 2
    assert all(len(side) == 1 for side in sides.values())
    # Six patients of two eyes, the lens cap, and the stray image, which counts as a patient.
    assert len(sides) == sum(manifest["num_patients"].values()) == 8
    assert manifest["images_counted_as_patient"] == 1
    assert manifest["sources"]["eye_side"] == {"expert": NUM_GOOD, "filled": 0, "unknown": 2}
    assert manifest["values"]["dr_grade"] == {"0": 3, "1": 3, "2": 2, "3": 2, "4": 2}
    assert (manifest["rows_without_image"], manifest["images_without_row"]) == (1, 1)


def test_neither_key_nor_patient_ids_are_written(done: Storage) -> None:
    for name, data in contents(done).items():
        assert KEY.encode() not in data, name
        assert b"Doe-" not in data, name


def test_staged_tables_are_gone_and_the_sheet_is_a_picture(done: Storage) -> None:
    assert list(done.names("runs")) == []
    manifest = read_manifest(done, FOLDER)
    assert {"rejected.json", "contact_sheet.png"} < set(manifest["files"])
    with Image.open(Path(done.uri(f"{FOLDER}/contact_sheet.png"))) as sheet:
        assert len(np.unique(np.asarray(sheet.convert("RGB")).reshape(-1, 3), axis=0)) > 1000


def test_a_complete_folder_is_left_as_it_is(done: Storage, clinic: Path) -> None:
    before = contents(done)
    heard = Heard()
    manifest = prepare(done, FOLDER, [listing(clinic)], CONFIG, settings(key=None), "d", heard)
    assert manifest == read_manifest(done, FOLDER)
    assert heard.done == []
    assert contents(done) == before


def test_order_of_the_listing_and_of_the_tasks_do_not_matter(done: Storage, clinic: Path, storage: Storage) -> None:
    mixed = listing(clinic)
    np.random.default_rng(0).shuffle(mixed.records)
    prepare(storage, FOLDER, [mixed], CONFIG, settings(), "d", Heard())
    assert contents(storage) == contents(done)


def test_a_reused_name_is_refused(done: Storage, clinic: Path) -> None:
    before = contents(done)
    with pytest.raises(WrongInputError, match="prepared from other settings"):
        prepare(done, FOLDER, [listing(clinic)], CONFIG, settings(), "another digest", Heard())
    fewer = listing(clinic)
    fewer.records.pop()
    with pytest.raises(WrongInputError, match="prepared from other images or labels"):
        prepare(done, FOLDER, [fewer], CONFIG, settings(), "d", Heard())
    assert contents(done) == before


@pytest.mark.parametrize("full_at", ["chunk-00002.parquet", "images-00001.parquet", "rejected.json", "manifest.json"])
def test_after_an_interruption_the_next_run_goes_on(done: Storage, clinic: Path, tmp_path: Path, full_at: str) -> None:
    disk = FullDisk((tmp_path / "root").as_uri(), full_at)
    with pytest.raises(StorageError, match=f"disk full while writing .*{full_at}"):
        prepare(disk, FOLDER, [listing(clinic)], CONFIG, settings(), "d", Heard())
    assert not is_complete(disk, FOLDER)
    # What was staged is not staged again: that would fail here.
    there = next((name for name in sorted(disk.names("runs")) if "chunk-" in name), None)
    assert there is not None
    prepare(replace(disk, full_at=Path(there).name), FOLDER, [listing(clinic)], CONFIG, settings(), "d", Heard())
    assert contents(disk) == contents(done)


def test_nothing_left_is_wrong_input_and_writes_nothing(storage: Storage, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.jpg").write_bytes(b"words")
    (folder / "labels.csv").write_text("file_name,is_fundus\na.jpg,1\n")
    with pytest.raises(WrongInputError, match=r"none of 1 images is left \(1 not_an_image\)"):
        prepare(storage, FOLDER, [listing(folder)], CONFIG, settings(), "d", Heard())
    assert list(storage.names("data")) == []


def test_leftovers_of_other_images_are_told(storage: Storage, clinic: Path) -> None:
    storage.write_once(f"{FOLDER}/images-00000.parquet", b"something else")
    with pytest.raises(WrongInputError, match="part of an earlier preparation"):
        prepare(storage, FOLDER, [listing(clinic)], CONFIG, settings(), "d", Heard())
