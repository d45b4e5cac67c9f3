"""Readers of the prepared images in `data/<name>/`: labels only, or labels with pixels in bounded memory."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from synfundus.fundus.batches import ImageBatch, LabelBatch
from synfundus.fundus.manifest import DataManifest
from synfundus.fundus.shard import decode_pixels
from synfundus.fundus.splits import SPLITS
from synfundus.labels import HEADS, LABEL_NAMES, NUM_LABELS, NUM_VALUES, encode_values
from synfundus.storage import Storage, read_manifest
from synfundus.storage.parquet import open_parquet

MAX_OPEN_FILES = 4
"""Parquet files that one reader keeps open. Each holds a file descriptor and its footer, about 100 KiB."""
CACHE_BYTES = 512 * 2**20
"""Bytes of decoded pixels that one reader keeps."""
READ_BATCH = 256
"""Images that `PreparedImages.batches` decodes at once, unless its caller says otherwise."""
LABEL_COLUMNS = ("image_id", "patient", *LABEL_NAMES, *(f"filled_{name}" for name in LABEL_NAMES))


def read_labels(storage: Storage, folder: str, split: str) -> Iterator[LabelBatch]:
    """Yield the labels of a split in stored order, one row group at a time; no image is read.

    Raises:
        WrongInputError: the folder is not complete or holds no prepared images.
    """
    for name in read_manifest(storage, folder, DataManifest).shards:
        with storage.open_input(f"{folder}/{name}") as source:
            file = open_parquet(source)
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=["split", *LABEL_COLUMNS])
                rows = np.flatnonzero(table.column("split").to_numpy() == split)
                if len(rows):
                    yield _decode_labels(table.take(rows))


def _decode_labels(table: pa.Table) -> LabelBatch:
    rows = table.select(LABEL_COLUMNS).to_pylist()
    p_BV, expert_BK = encode_values(rows)
    known_BK = expert_BK.copy()
    for b, row in enumerate(rows):
        for k, name in enumerate(LABEL_NAMES):
            filled = row[f"filled_{name}"]
            if filled is not None and not expert_BK[b, k]:
                # P(grade >= k) is the sum of the distribution from k on.
                p_BV[b, HEADS[name]] = np.cumsum(filled[::-1])[::-1][1:] if k == 0 else filled
                known_BK[b, k] = True
    image_ids, patients = ([row[column] for row in rows] for column in ("image_id", "patient"))
    return LabelBatch(p_BV, known_BK, expert_BK, image_ids, patients)


def _decode_images(table: pa.Table) -> ImageBatch:
    labels = _decode_labels(table)
    images_BHWC = np.stack([decode_pixels(image["bytes"]) for image in table.column("image").to_pylist()])
    return ImageBatch(
        labels.p_BV, labels.known_BK, labels.expert_BK, labels.image_ids, labels.patients, images_BHWC=images_BHWC
    )


def _join(batches: Sequence[ImageBatch]) -> ImageBatch:
    return ImageBatch(
        np.concatenate([batch.p_BV for batch in batches]),
        np.concatenate([batch.known_BK for batch in batches]),
        np.concatenate([batch.expert_BK for batch in batches]),
        [image_id for batch in batches for image_id in batch.image_ids],
        [patient for batch in batches for patient in batch.patients],
        np.concatenate([batch.images_BHWC for batch in batches]),
    )


class PreparedImages:
    """Reader of one complete `data/<name>/`. Memory: an index of 8 bytes per image and `CACHE_BYTES` of pixels."""

    def __init__(self, storage: Storage, folder: str) -> None:
        """Index the rows of each split; no image is read.

        Raises:
            WrongInputError: the folder is not complete or holds no prepared images.
        """
        self.storage, self.folder = storage, folder
        self.manifest = read_manifest(storage, folder, DataManifest)
        self.size_px = self.manifest.size_px
        self._files: dict[str, pq.ParquetFile] = {}
        self._cache: OrderedDict[int, ImageBatch] = OrderedDict()
        self._cached_bytes = 0
        self._groups: list[tuple[str, int]] = []
        self._places = self._index_rows()

    def _index_rows(self) -> dict[str, NDArray[np.int32]]:
        """Return split -> (N, 2): number of the row group and row within it, of each image."""
        places: dict[str, list[NDArray[np.int32]]] = {split: [np.zeros((0, 2), np.int32)] for split in SPLITS}
        for name in self.manifest.shards:
            file = self._open(name)
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, columns=["split"]).column("split").to_numpy()
                for split in SPLITS:
                    rows = np.flatnonzero(column == split).astype(np.int32)
                    number = np.full(len(rows), len(self._groups), np.int32)
                    places[split].append(np.stack([number, rows], axis=1))
                self._groups.append((name, group))
        return {split: np.concatenate(groups) for split, groups in places.items()}

    def _open(self, name: str) -> pq.ParquetFile:
        file = self._files.pop(name, None)
        if file is None:
            file = open_parquet(self.storage.open_input(f"{self.folder}/{name}"))
        self._files[name] = file  # the last used comes last
        while len(self._files) > MAX_OPEN_FILES:
            self._files.pop(next(iter(self._files))).close(force=True)
        return file

    def _group(self, number: int) -> ImageBatch:
        """Return a decoded row group, from the cache or from storage."""
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        name, group = self._groups[number]
        batch = _decode_images(self._open(name).read_row_group(group))
        self._cache[number] = batch
        self._cached_bytes += batch.images_BHWC.nbytes
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].images_BHWC.nbytes
        return batch

    def num_images(self, split: str) -> int:
        return len(self._places[split])

    def batch(self, split: str, indices: Sequence[int] | NDArray[np.int64]) -> ImageBatch:
        """Return images of a split in the order of `indices`, which run from 0 to num_images(split) - 1."""
        places = self._places[split][np.asarray(indices, np.int64)]
        batches, order = [], []
        for group in np.unique(places[:, 0]):
            rows = np.flatnonzero(places[:, 0] == group)
            batches.append(self._group(int(group)).take(places[rows, 1].astype(np.int64)))
            order.append(rows)
        if not batches:
            no_labels = np.zeros((0, NUM_LABELS), np.bool_)
            no_pixels = np.zeros((0, self.size_px, self.size_px, 3), np.uint8)
            return ImageBatch(np.zeros((0, NUM_VALUES), np.float32), no_labels, no_labels, [], [], no_pixels)
        return _join(batches).take(np.argsort(np.concatenate(order), kind="stable"))

    def batches(self, split: str, batch_size: int = READ_BATCH) -> Iterator[ImageBatch]:
        """Yield all images of a split in stored order; the last batch may be short."""
        for start in range(0, self.num_images(split), batch_size):
            yield self.batch(split, range(start, min(start + batch_size, self.num_images(split))))
