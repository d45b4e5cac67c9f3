"""Readers of prepared images."""

import json
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from support.data_manifest import data_manifest
from support.datasets_of_phantoms import phantom_dataset, png
from support.shards_of_rows import write_shards
from synfundus.errors import StorageError, WrongInputError
from synfundus.fundus import shard, shard_files
from synfundus.fundus.batches import ImageBatch
from synfundus.fundus.dataset import PreparedImages, read_labels
from synfundus.fundus.index import INDEX, addresses, decode_labels, index_shard, open_index
from synfundus.fundus.manifest import DataManifest
from synfundus.fundus.shard import encode_table
from synfundus.fundus.splits import SPLITS
from synfundus.labels import LABEL_NAMES, NUM_VALUES, encode_values
from synfundus.storage import LocalStorage, Storage, read_manifest, write_manifest
from synfundus.storage.parquet import encode_parquet
from synfundus.training.learner import image_indices

FOLDER = "data/p"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_every_batch_holds_the_requested_images_and_few_shards_stay_open(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_files, "max_open_files", lambda: 5)
    phantom_dataset(storage, FOLDER, 60, 32, rows_per_shard=2)
    before = open_files()
    reader = PreparedImages(storage, FOLDER)
    whole = next(reader.batches("train"))
    order = np.random.default_rng(0).permutation(36)
    for start in range(0, 36, 5):
        batch = reader.batch("train", order[start : start + 5])
        assert batch.image_ids == [whole.image_ids[i] for i in order[start : start + 5]]
        np.testing.assert_array_equal(batch.images_BHWC, whole.images_BHWC[order[start : start + 5]])
        assert open_files() <= before + 5 + 1  # the index
    del reader
    assert open_files() == before


def test_more_shards_than_the_usual_few_stay_open(storage: Storage) -> None:
    """From the first shard that is opened for each image on, reading an image takes seven times as long."""
    rows = [row(i, split="train", image={"bytes": b"image %d" % i, "path": None}) for i in range(300)]
    write_manifest(storage, FOLDER, write_shards(storage, FOLDER, rows, 1), data_manifest(rows, 32))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[1], 1024), limits[1]))
    try:
        reader, before = PreparedImages(storage, FOLDER), open_files()
        for address in addresses(reader._records):
            assert reader._files.read(*address).startswith(b"image")
        assert open_files() == before + 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_batch_without_images_is_empty(storage: Storage) -> None:
    phantom_dataset(storage, FOLDER, 12, 32)
    batch = PreparedImages(storage, FOLDER).batch("train", [])
    assert (len(batch), batch.images_BHWC.shape, batch.p_BV.shape) == (0, (0, 32, 32, 3), (0, NUM_VALUES))


def test_the_index_holds_the_place_and_the_labels_of_every_image_of_the_shards(storage: Storage) -> None:
    """Equal image bytes occur twice, and the Parquet file has several pages and row groups."""
    images = [np.random.default_rng(i).bytes(3000 + i) for i in range(600)]
    images[5] = images[4]
    rows = [row(i, image={"bytes": images[i], "path": None}) for i in range(600)]
    rows[3] |= {"dr_grade": 3, "source_dr_grade": "expert", "is_gc": 0, "source_is_gc": "expert"}
    write_shards(storage, FOLDER, rows, 300)
    records = open_index(storage.path(f"{FOLDER}/{INDEX}"), INDEX)  # type: ignore[attr-defined]
    shards = [storage.read(f"{FOLDER}/images-0000{number}.parquet") for number in range(2)]
    found = [shards[shard][offset : offset + size] for shard, offset, size in addresses(records)]
    assert found == images
    labels = decode_labels(records)
    p_BV, known_BK = encode_values([{name: r.get(name) for name in LABEL_NAMES} for r in rows])  # type: ignore[misc]
    np.testing.assert_array_equal(labels.p_BV, p_BV)
    np.testing.assert_array_equal(labels.expert_BK, known_BK)
    assert labels.image_ids == [r["image_id"] for r in rows]
    assert labels.patients == [r["patient"] for r in rows]


def test_an_image_that_is_compressed_again_has_no_address() -> None:
    rows = [row(i, image={"bytes": bytes(5000), "path": None}) for i in range(3)]
    with pytest.raises(ValueError, match="not in its shard as one run of bytes"):
        index_shard(encode_parquet(pa.Table.from_pylist(rows, schema=shard.SCHEMA)))


def test_an_id_that_the_index_would_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="image_id: longer than 16 bytes"):
        index_shard(encode_table([row(0, image_id="0123456789abcdefg")]))


@pytest.mark.parametrize("size_px", [64, 256, 512])
def test_a_batch_of_256_spans_the_hospitals_at_every_size(storage: Storage, size_px: int) -> None:
    """Images sorted by name come hospital by hospital, as in a folder for each."""
    encoded = png(np.zeros((size_px, size_px, 3), np.uint8))
    rows = [
        row(i, image_id=f"h{i * 8 // 2048}-{i:06d}", image={"bytes": encoded, "path": None}, split="train")
        for i in range(2048)
    ]
    write_manifest(storage, FOLDER, write_shards(storage, FOLDER, rows, 256), data_manifest(rows, size_px))
    images = PreparedImages(storage, FOLDER)
    for step in range(2048 // 256):
        indices = image_indices(0, range(step * 256, (step + 1) * 256), images.num_images("train"))
        assert len({name[:2] for name in images.labels("train", indices).image_ids}) >= 7


@pytest.mark.parametrize("damage", ["bytes", "length", "missing"])
def test_an_image_that_cannot_be_read_is_named_with_its_shard(storage: LocalStorage, damage: str) -> None:
    phantom_dataset(storage, FOLDER, 12, 32, rows_per_shard=6)
    images = PreparedImages(storage, FOLDER)
    path = storage.path(f"{FOLDER}/images-00001.parquet")
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(bytes(len(data)) if damage == "bytes" else data[:100])
    expected = {"bytes": "image .* does not decode", "length": "ends before byte", "missing": "cannot be read"}
    with pytest.raises(StorageError, match=rf"^{FOLDER}/images-00001\.parquet: {expected[damage]}.*; restore the file"):
        images.batch("train", range(images.num_images("train")))


@pytest.mark.parametrize("damaged", [b"", b"no index", b"\x93NUMPY\x01\x00"])
def test_a_damaged_index_is_named(storage: LocalStorage, damaged: bytes) -> None:
    phantom_dataset(storage, FOLDER, 12, 32)
    path = storage.path(f"{FOLDER}/{INDEX}")
    path.unlink()
    path.write_bytes(damaged)
    with pytest.raises(StorageError, match=rf"^{FOLDER}/index\.npy: no index of a dataset.*; restore it"):
        PreparedImages(storage, FOLDER)


def test_a_dataset_without_an_index_is_refused(storage: Storage) -> None:
    rows = [row(0)]
    objects = [item for item in write_shards(storage, FOLDER, rows) if not item.name.endswith(INDEX)]
    write_manifest(storage, FOLDER, objects, data_manifest(rows, 32))
    with pytest.raises(StorageError, match=r"the manifest of the data does not name index\.npy"):
        PreparedImages(storage, FOLDER)


def row(number: int, **columns: object) -> dict[str, object]:
    """Return a row whose image cannot be decoded."""
    row: dict[str, object] = {"image_id": f"image-{number}", "image": {"bytes": b"no image", "path": None}}
    row |= {"patient": f"patient-{number // 2}", "split": SPLITS[number % 2]}
    row |= {f"source_{name}": "unknown" for name in LABEL_NAMES}
    return row | columns


def test_label_reader_and_image_reader_agree(storage: Storage) -> None:
    phantom_dataset(storage, FOLDER, 60, 32, rows_per_shard=7)
    for split in ("train", "validation", "test"):
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
    write_manifest(storage, FOLDER, write_shards(storage, FOLDER, rows), data_manifest(rows, 32))
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


def test_a_dataset_of_before_the_split_judge_is_refused_because_its_index_has_other_positions(
    storage: LocalStorage,
) -> None:
    phantom_dataset(storage, FOLDER, 12, 32)
    path = storage.path(f"{FOLDER}/manifest.json")
    older = json.loads(path.read_bytes()) | {"version": 1}
    path.unlink()
    path.write_text(json.dumps(older))
    for read in (lambda: PreparedImages(storage, FOLDER), lambda: list(read_labels(storage, FOLDER, "train"))):
        with pytest.raises(StorageError, match=f"{FOLDER}/manifest.json has version 1, and .* delete {FOLDER} and run"):
            read()


def test_an_incomplete_folder_is_wrong_input(storage: Storage) -> None:
    for read in (lambda: PreparedImages(storage, FOLDER), lambda: list(read_labels(storage, FOLDER, "train"))):
        with pytest.raises(WrongInputError, match=f"{FOLDER} is not complete"):
            read()


def test_an_arrow_before_26_reads_nulls_of_every_column() -> None:
    # It cannot read a null in a list of fixed size (apache/arrow#35692), so one row without a grade loses the file.
    assert not [field.name for field in shard.SCHEMA if pa.types.is_fixed_size_list(field.type)]
