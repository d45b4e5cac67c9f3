"""The reader of prepared images: what was asked for, whatever the cache and the open files hold."""

import numpy as np
import pyarrow as pa
import pytest

from support.datasets_of_phantoms import phantom_dataset
from synfundus.fundus import dataset
from synfundus.fundus.dataset import MAX_OPEN_FILES, PreparedImages
from synfundus.samples import shards
from synfundus.storage import Storage


def test_few_files_stay_open_and_every_batch_is_what_was_asked(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantom_dataset(storage, "data/p", 60, 32, rows_per_shard=6)
    whole = PreparedImages(storage, "data/p").batch("train", range(36))
    monkeypatch.setattr(dataset, "CACHE_BYTES", 1)
    reader = PreparedImages(storage, "data/p")
    order = np.random.default_rng(0).permutation(36)
    for start in range(0, 36, 5):
        part = reader.batch("train", order[start : start + 5])
        assert part.image_ids == [whole.image_ids[i] for i in order[start : start + 5]]
        np.testing.assert_array_equal(part.images_BHWC, whole.images_BHWC[order[start : start + 5]])
        assert len(reader._files) <= MAX_OPEN_FILES


@pytest.mark.parametrize("schema", [dataset.SCHEMA, shards.SCHEMA], ids=["prepared", "samples"])
def test_readers_with_an_arrow_before_26_can_read_what_is_written(schema: pa.Schema) -> None:
    # It cannot read a null in a list of fixed size (apache/arrow#35692): one row without a grade, and the file is lost.
    assert not [field.name for field in schema if pa.types.is_fixed_size_list(field.type)]
