"""A dataset on S3: opening it takes few requests, and its images are copied to this machine's disk once."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from support.datasets_of_phantoms import phantom_dataset
from support.s3_proxy import Proxy
from support.s3_store import BUCKET
from synfundus.diffusion.config import GeneratorConfig, UNetConfig
from synfundus.errors import WrongInputError
from synfundus.evaluation.image_sets import read_photographs
from synfundus.fundus import shard_files
from synfundus.fundus.dataset import PreparedImages, read_labels
from synfundus.fundus.splits import SPLITS
from synfundus.measures.spectrum import octave_powers
from synfundus.stages.training_tasks import GeneratorTask
from synfundus.storage import Storage, open_storage

FOLDER = "data/p"
NUM_IMAGES, NUM_SHARDS = 40, 10


@pytest.fixture
def storage(proxy: Proxy, tmp_path: Path) -> Storage:
    storage = open_storage(f"s3://{BUCKET}/{tmp_path.name}")
    phantom_dataset(storage, FOLDER, NUM_IMAGES, 32, rows_per_shard=NUM_IMAGES // NUM_SHARDS)
    return storage


def names(proxy: Proxy) -> list[str]:
    """Return method and last part of the name of each request so far, and forget them."""
    requests = [f"{request.split()[0]} {request.rpartition('/')[2]}" for request in proxy.requests]
    proxy.requests.clear()
    return requests


def test_opening_reads_the_manifest_and_the_index_alone(storage: Storage, copies_folder: Path, proxy: Proxy) -> None:
    names(proxy)
    images = PreparedImages(storage, FOLDER)
    assert names(proxy) == ["HEAD manifest.json", "GET manifest.json", "GET index.npy"]
    # A second rank of the machine, and a reader of labels.
    assert PreparedImages(storage, FOLDER).num_images("train") == images.num_images("train")
    assert sum(map(len, read_labels(storage, FOLDER, "train"))) == images.num_images("train")
    assert names(proxy) == ["HEAD manifest.json", "GET manifest.json"] * 2


def test_a_training_reads_each_shard_once_and_equals_one_on_a_disk(
    storage: Storage, copies_folder: Path, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_files, "max_open_files", lambda: NUM_SHARDS // 2)
    images = PreparedImages(storage, FOLDER)
    names(proxy)
    images.copy_to_this_machine()
    assert sorted(names(proxy)) == [f"GET images-{number:05d}.parquet" for number in range(NUM_SHARDS)]
    local = open_storage(str(tmp_path / "local"))
    phantom_dataset(local, FOLDER, NUM_IMAGES, 32, rows_per_shard=NUM_IMAGES // NUM_SHARDS)
    order = np.random.default_rng(0).permutation(images.num_images("train"))
    here, there = PreparedImages(local, FOLDER).batch("train", order), images.batch("train", order)
    np.testing.assert_array_equal(there.images_BHWC, here.images_BHWC)
    assert there.image_ids == here.image_ids
    assert names(proxy) == []
    shutil.rmtree(copies_folder)  # a user may empty the cache while it is in use
    np.testing.assert_array_equal(images.batch("train", order).images_BHWC, here.images_BHWC)


def test_reading_all_images_in_order_reads_each_shard_once_and_leaves_no_copy(
    storage: Storage, copies_folder: Path, proxy: Proxy
) -> None:
    images = PreparedImages(storage, FOLDER)
    names(proxy)
    ids = [image_id for batch in images.batches("train", 7) for image_id in batch.image_ids]
    read = names(proxy)
    assert len(read) == len(set(read)) <= NUM_SHARDS
    assert len(list(copies_folder.iterdir())) == 1  # the index
    assert ids == images.labels("train", range(len(ids))).image_ids


def test_an_evaluation_reads_each_file_once_and_leaves_no_copy(
    storage: Storage, copies_folder: Path, proxy: Proxy
) -> None:
    images = PreparedImages(storage, FOLDER)
    names(proxy)
    descriptors = {split: np.zeros((images.num_images(split), 4), np.float32) for split in SPLITS}
    photographs = read_photographs(images, SPLITS, descriptors, {}, NUM_IMAGES // 2, 0)
    read = [name for name in names(proxy) if ".parquet" in name]
    assert max(Counter(read).values()) <= len(SPLITS), "a shard is read once for each split"
    assert len(list(copies_folder.iterdir())) == 1  # the index
    expected = octave_powers(
        np.concatenate([images.batch(split, range(images.num_images(split))).images_BHWC for split in SPLITS])
    )
    np.testing.assert_allclose(photographs.octave_powers_MO, expected[photographs.chosen], rtol=1e-9)


def test_a_training_that_is_refused_copies_no_shard(storage: Storage, copies_folder: Path) -> None:
    unet = UNetConfig(size_px=64, channels=(32, 32))
    config = GeneratorConfig(unet=unet, num_steps=1, batch_size=2, learning_rate=0.1)
    task = GeneratorTask(config, storage, "x-generator", FOLDER, "generators/x", "")
    with pytest.raises(WrongInputError, match=r"unet\.size_px: is 64, but the images have 32 px"):
        task.build(torch.device("cpu"), 0, 1)
    assert len(list(copies_folder.iterdir())) == 1  # the index
