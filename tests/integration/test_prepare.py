"""`prepare` on real Ray Data: files of every kind, a second run, an interruption, wrong input."""

import csv
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
from synfundus.fundus.manifest import DataManifest, LabelSources
from synfundus.fundus.rejection_report import RejectionReport
from synfundus.fundus.sources import SourceListing
from synfundus.fundus.sources.folder import FolderSource
from synfundus.fundus.splits import SPLITS
from synfundus.stages.prepare_passes import prepare
from synfundus.storage import Storage, is_complete, open_storage, read_manifest

pytestmark = pytest.mark.usefixtures("ray_session")

CONFIG = PrepareConfig(size_px=64, shard_rows=5)
FOLDER = "data/clinic"
KEY = "a secret of at least sixteen characters"
NUM_GOOD = 12


class Recorded:
    """Progress that keeps every number it receives."""

    def __init__(self) -> None:
        self.done: list[int] = []

    def update(self, done: int, note: str = "") -> None:
        self.done.append(done)


def run(storage: Storage, listing: SourceListing, progress: Recorded | None = None) -> None:
    """Prepare one source into `FOLDER`."""
    environment = Environment(patient_key=KEY, real_data=None, config_home=Path("/nonexistent"))
    prepare(storage, FOLDER, [listing], CONFIG, environment, "digest", progress or Recorded())


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photographs of six patients, one image that is not a fundus, and one of each kind that is rejected."""
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
    """A root with the clinic's images, prepared without an interruption."""
    storage = open_storage(str(tmp_path_factory.mktemp("root")))
    progress = Recorded()
    run(storage, listing(clinic), progress)
    assert progress.done == sorted(progress.done)
    assert progress.done[-1] == NUM_GOOD + 9
    return storage


def test_every_image_is_accepted_or_rejected_for_its_reason(done: Storage) -> None:
    name = f"{FOLDER}/rejected.json"
    report = RejectionReport.from_json(done.read(name), name)
    images = {Path(image.name).name: image for image in report.images}
    assert {name: image.reason.value for name, image in images.items()} == {
        "blank.png": "no_field_of_view",
        "copy.jpg": "exact_duplicate",
        "small_copy.jpg": "near_duplicate",
        "cut.jpg": "truncated",
        "tiny.png": "too_small",
        "notes.jpg": "not_an_image",
        "damaged.png": "unreadable",
    }
    assert {reason for reason, count in report.counts.items() if count == 1} == {i.reason for i in report.images}
    assert sum(report.counts.values()) == len(images)
    twins = {name: Path(image.twin).name for name, image in images.items() if image.twin is not None}
    assert twins == {"copy.jpg": "good00.jpg", "small_copy.jpg": "good01.jpg"}
    assert images["copy.jpg"].conflicts == {"eye_side": (0, 1)}
    assert [line.rsplit(": ", 1)[1] for line in report.rows_without_image] == ["lost.jpg"]
    assert [Path(name).name for name in report.images_without_row] == ["stray.png"]


def test_no_patient_is_in_two_splits(done: Storage) -> None:
    images = PreparedImages(done, FOLDER)
    splits: dict[str, set[str]] = {}
    total = 0
    for split in SPLITS:
        for batch in images.batches(split, 4):
            total += len(batch)
            assert batch.images_BHWC.shape[1:] == (64, 64, 3)
            for patient in batch.patients:
                splits.setdefault(patient, set()).add(split)
    assert all(len(found) == 1 for found in splits.values())
    manifest = read_manifest(done, FOLDER, DataManifest)
    assert total == manifest.num_images.total == NUM_GOOD + 2
    # Six patients of two eyes, the lens cap, and the stray image, which counts as a patient.
    assert len(splits) == manifest.num_patients.total == 8


def test_the_manifest_counts_patients_labels_and_what_has_no_counterpart(done: Storage) -> None:
    manifest = read_manifest(done, FOLDER, DataManifest)
    assert manifest.images_counted_as_patient == 1
    assert manifest.sources["eye_side"] == LabelSources(expert=NUM_GOOD, filled=0, unknown=2)
    assert manifest.values["dr_grade"] == {0: 3, 1: 3, 2: 2, 3: 2, 4: 2}
    assert (manifest.rows_without_image, manifest.images_without_row) == (1, 1)


def test_neither_key_nor_patient_ids_are_written(done: Storage) -> None:
    for name, data in contents(done).items():
        assert KEY.encode() not in data, name
        assert b"Doe-" not in data, name


def test_staged_tables_are_removed_and_the_contact_sheet_shows_images(done: Storage) -> None:
    assert list(done.names("runs")) == []
    assert {"rejected.json", "contact_sheet.png"} < set(read_manifest(done, FOLDER, DataManifest).files)
    with Image.open(Path(done.uri(f"{FOLDER}/contact_sheet.png"))) as sheet:
        assert len(np.unique(np.asarray(sheet.convert("RGB")).reshape(-1, 3), axis=0)) > 1000


def test_the_order_of_the_listing_does_not_matter(done: Storage, clinic: Path, storage: Storage) -> None:
    mixed = listing(clinic)
    np.random.default_rng(0).shuffle(mixed.records)
    run(storage, mixed)
    assert contents(storage) == contents(done)


@pytest.mark.parametrize("full_at", ["chunk-00002.parquet", "images-00001.parquet", "rejected.json", "manifest.json"])
def test_after_an_interruption_the_next_run_resumes(done: Storage, clinic: Path, tmp_path: Path, full_at: str) -> None:
    disk = FullDisk((tmp_path / "root").as_uri(), full_at)
    with pytest.raises(StorageError, match=f"disk full while writing .*{full_at}"):
        run(disk, listing(clinic))
    assert not is_complete(disk, FOLDER)
    # A staged chunk is not staged again: writing it a second time would fail here.
    staged = next((name for name in sorted(disk.names("runs")) if "chunk-" in name), None)
    assert staged is not None
    run(replace(disk, full_at=Path(staged).name), listing(clinic))
    assert contents(disk) == contents(done)


def test_if_every_image_is_rejected_nothing_is_written(storage: Storage, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.jpg").write_bytes(b"words")
    (folder / "labels.csv").write_text("file_name,is_fundus\na.jpg,1\n")
    with pytest.raises(WrongInputError, match=r"all 1 images are rejected \(1 not an image\)"):
        run(storage, listing(folder))
    assert list(storage.names("data")) == []


def test_objects_of_other_images_are_refused(storage: Storage, clinic: Path) -> None:
    storage.write_once(f"{FOLDER}/images-00000.parquet", b"something else")
    with pytest.raises(WrongInputError, match="part of an earlier preparation"):
        run(storage, listing(clinic))
