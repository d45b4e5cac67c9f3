"""Decoding while a model is trained: each image once an epoch over all workers; a damaged image stops the step."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from support.datasets_of_phantoms import phantom_dataset
from support.decoded_images import decoded_images
from support.models_of_phantoms import ANNOTATOR, GENERATOR
from synfundus.digests import sha256_hex
from synfundus.errors import StorageError
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.index import addresses
from synfundus.resources import TrainingResources
from synfundus.stages.training_tasks import AnnotatorTask, GeneratorTask
from synfundus.storage import LocalStorage, Storage

FOLDER = "data/p"
TASKS = {"annotator": (AnnotatorTask, ANNOTATOR), "generator": (GeneratorTask, GENERATOR)}


def training_images(storage: Storage) -> list[str]:
    """Return the digests of the encoded training images."""
    images = PreparedImages(storage, FOLDER)
    shards = [storage.read(f"{FOLDER}/{name}") for name in images.manifest.shards]
    records = images._records[images._rows["train"]]
    return [sha256_hex(shards[shard][offset : offset + size]) for shard, offset, size in addresses(records)]


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("model", TASKS)
def test_all_workers_together_decode_each_image_once_an_epoch(
    storage: Storage, tmp_path: Path, model: str, num_workers: int
) -> None:
    phantom_dataset(storage, FOLDER, 80, 32, null_fraction=0.0, rows_per_shard=20)
    task_class, config = TASKS[model]
    resources = TrainingResources(num_workers=num_workers, num_threads=1)
    one_epoch = config.model_copy(update={"num_steps": 6, "batch_size": 8, "resources": resources})
    task = task_class(one_epoch, storage, "run", FOLDER, "models/p", "digest")
    decoded = decoded_images(task, tmp_path / "meeting-point")
    expected = training_images(storage)
    assert len(expected) == 48
    assert [len(images) for images in decoded] == [48 // num_workers] * num_workers
    assert Counter(image for images in decoded for image in images) == Counter(expected)


@pytest.mark.parametrize("model", TASKS)
def test_a_damaged_image_stops_the_step_and_is_named(storage: LocalStorage, model: str) -> None:
    phantom_dataset(storage, FOLDER, 80, 32, null_fraction=0.0, rows_per_shard=20)
    task_class, config = TASKS[model]
    learner = task_class(config, storage, "run", FOLDER, "models/p", "digest").build(torch.device("cpu"), 0, 1)
    path = storage.path(f"{FOLDER}/images-00002.parquet")
    size = path.stat().st_size
    path.unlink()
    path.write_bytes(bytes(size))
    with pytest.raises(StorageError, match=rf"^{FOLDER}/images-00002\.parquet: image \w+ does not decode"):
        for step in range(config.num_steps):
            learner.train_step(step)
    learner.close()
