"""Stored copy descriptors are those of the images, split by split in stored order."""

from pathlib import Path

import numpy as np
import pytest

from support.datasets_of_phantoms import phantom_dataset
from synfundus.errors import StorageError
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.descriptors import read_descriptors
from synfundus.fundus.splits import SPLITS
from synfundus.measures.copies import copy_descriptor
from synfundus.storage import LocalStorage, Storage


def test_stored_descriptors_are_those_of_the_images_in_their_order(storage: Storage) -> None:
    phantom_dataset(storage, "data/p", 50, 32, rows_per_shard=20)
    images = PreparedImages(storage, "data/p")
    descriptors = read_descriptors(storage, "data/p")
    for split in SPLITS:
        pixels = images.batch(split, range(images.num_images(split))).images_BHWC
        np.testing.assert_array_equal(descriptors[split], copy_descriptor(pixels))


def test_a_changed_file_of_descriptors_is_refused(storage: LocalStorage) -> None:
    phantom_dataset(storage, "data/p", 20, 32)
    Path(storage.uri("data/p/descriptors-00000.safetensors")).write_bytes(b"other")
    with pytest.raises(StorageError, match=r"descriptors-00000.safetensors differs from its manifest"):
        read_descriptors(storage, "data/p")
