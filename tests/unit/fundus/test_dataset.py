"""Readers of prepared images."""

import numpy as np
import pyarrow as pa
import pytest

from support.data_manifest import data_manifest
from support.datasets_of_phantoms import phantom_dataset
from synfundus.errors import WrongInputError
from synfundus.fundus import dataset, shard
from synfundus.fundus.batches import ImageBatch
from synfundus.fundus.dataset import MAX_OPEN_FILES, PreparedImages, read_labels
from synfundus.fundus.manifest import DataManifest
from synfundus.fundus.shard import encode_table
from synfundus.fundus.splits import SPLITS
from synfundus.labels import LABEL_NAMES
from synfundus.storage import Storage, read_manifest, write_manifest

FOLDER = "data/p"


def test_few_files_stay_open_and_every_batch_holds_the_requested_images(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantom_dataset(storage, FOLDER, 60, 32, rows_per_shard=6)
    whole = PreparedImages(storage, FOLDER).batch("train", range(36))
    monkeypatch.setattr(dataset, "CACHE_BYTES", 1)
    reader = PreparedImages(storage, FOLDER)
    order = np.random.default_rng(0).permutation(36)
    for start in range(0, 36, 5):
        batch = reader.batch("train", order[start : start + 5])
        assert batch.image_ids == [whole.image_ids[i] for i in order[start : start + 5]]
        np.testing.assert_array_equal(batch.images_BHWC, whole.images_BHWC[order[start : start + 5]])
        assert len(reader._files) <= MAX_OPEN_FILES


def row(number: int, **columns: object) -> dict[str, object]:
    """Return a row whose image cannot be decoded."""
    row: dict[str, object] = {"image_id": f"image-{number}", "image": {"bytes": b"no image", "path": None}}
    row |= {"patient": f"patient-{number // 2}", "split": SPLITS[number % 2]}
    row |= {f"source_{name}": "unknown" for name in LABEL_NAMES}
    return row | columns


def test_label_reader_and_image_reader_agree(storage: Storage) -> None:
    phantom_dataset(storage, FOLDER, 60, 32, rows_per_shard=7)
    for split in SPLITS:
        labels = list(read_labels(storage, FOLDER, split))
        images = PreparedImages(storage, FOLDER)
        batch = images.batch(split, range(images.num_images(split)))
        for name in ("p_BV", "known_BK", "expert_BK"):
            np.testing.assert_array_equal(np.concatenate([getattr(b, name) for b in labels]), getattr(batch, name))
        assert [i for b in labels for i in b.image_ids] == batch.image_ids
        assert [p for b in labels for p in b.patients] == batch.patients
        assert not any(isinstance(b, ImageBatch) for b in labels)


def test_label_reader_reads_no_image(storage: Storage) -> None:
    grades = [0.5, 0.25, 0.125, 0.0625, 0.0625]
    rows = [
        row(0, eye_side=1, source_eye_side="expert", filled_eye_side=0.1),
        row(1),
        row(2, filled_dr_grade=grades, source_dr_grade="filled", filled_is_gc=0.3, source_is_gc="filled"),
    ]
    written = storage.write_once(f"{FOLDER}/images-00000.parquet", encode_table(rows))
    write_manifest(storage, FOLDER, [written], data_manifest(rows, 32))
    (batch,) = read_labels(storage, FOLDER, "train")
    assert batch.image_ids == ["image-0", "image-2"]
    side, gc = (LABEL_NAMES.index(name) for name in ("eye_side", "is_gc"))
    # An expert's value takes precedence over a filled one; P(grade >= k) comes from the filled distribution.
    assert batch.expert_BK.nonzero()[0].tolist() == [0]
    assert batch.known_BK.nonzero()[1].tolist() == [side, 0, gc]
    assert batch.p_BV[0].nonzero()[0].tolist() == [3 + side]
    np.testing.assert_allclose(batch.p_BV[1, :4], [0.5, 0.25, 0.125, 0.0625])
    assert batch.p_BV[1, 3 + gc] == np.float32(0.3)
    assert list(read_labels(storage, FOLDER, "test")) == []


def test_the_manifest_of_a_dataset_reads_back_as_it_was_written(storage: Storage) -> None:
    written = phantom_dataset(storage, FOLDER, 12, 32)
    manifest = read_manifest(storage, FOLDER, DataManifest)
    assert manifest == written == PreparedImages(storage, FOLDER).manifest
    assert manifest.num_images.total == 12
    assert all(isinstance(value, int) for values in manifest.values.values() for value in values)


def test_an_incomplete_folder_is_wrong_input(storage: Storage) -> None:
    for read in (lambda: PreparedImages(storage, FOLDER), lambda: list(read_labels(storage, FOLDER, "train"))):
        with pytest.raises(WrongInputError, match=f"{FOLDER} is not complete"):
            read()


def test_an_arrow_before_26_reads_nulls_of_every_column() -> None:
    # It cannot read a null in a list of fixed size (apache/arrow#35692), so one row without a grade loses the file.
    assert not [field.name for field in shard.SCHEMA if pa.types.is_fixed_size_list(field.type)]
