"""Prepared real images as they lie under `data/<name>/`: the row schema, and a reader with bounded memory."""

import io
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from synfundus.errors import WrongInputError
from synfundus.labels import HEADS, LABEL_NAMES, NUM_LABELS, NUM_VALUES, FloatArray, encode_values
from synfundus.storage import Storage, read_manifest
from synfundus.storage.parquet import open_parquet

SPLITS = ("train", "validation", "test")
"""`test` is the held-out part: no model, calibration or plan ever sees it.

How near a photograph of another person may lie to the training images is measured on both held-out parts.
"""
ROW_GROUP_ROWS = 256
MAX_OPEN_FILES = 4
"""Parquet files that one reader keeps open: each holds a descriptor and its footer, some 100 KiB."""
CACHE_BYTES = 512 * 2**20
"""Decoded pixels that one reader holds."""


def probability_type(name: str) -> pa.DataType:
    """Of a label's probability: a number, of `dr_grade` five. That list has no fixed length in the type, for Arrow
    before 26 reads no null where it has one (apache/arrow#35692)."""
    return pa.list_(pa.float32()) if name == "dr_grade" else pa.float32()


IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [("image_id", pa.string()), ("image", IMAGE_TYPE), ("patient", pa.string()), ("split", pa.string())]
    + [(name, pa.int8()) for name in LABEL_NAMES]
    + [(f"source_{name}", pa.string()) for name in LABEL_NAMES]
    + [(f"filled_{name}", probability_type(name)) for name in LABEL_NAMES]
)
"""Labels hold experts' values only; `filled_*` hold calibrated probabilities where `source_*` is `filled`."""


def encode_table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows in `SCHEMA` as one Parquet file; the same rows give the same bytes."""
    sink = io.BytesIO()
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
    pq.write_table(table, sink, row_group_size=ROW_GROUP_ROWS, compression="zstd")
    return sink.getvalue()


@dataclass(frozen=True)
class ImageBatch:
    """Some prepared images with what is known about them."""

    images_BHWC: NDArray[np.uint8]
    p_BV: FloatArray
    """(B, 19) head probabilities: 0/1 from an expert, calibrated where filled, 0 where unknown."""
    known_BK: NDArray[np.bool_]
    """(B, 16) expert or filled."""
    expert_BK: NDArray[np.bool_]
    """(B, 16) an expert said so."""
    image_ids: list[str]
    patients: list[str]

    def __len__(self) -> int:
        return len(self.image_ids)

    def take(self, rows: NDArray[np.int64]) -> "ImageBatch":
        return ImageBatch(
            self.images_BHWC[rows],
            self.p_BV[rows],
            self.known_BK[rows],
            self.expert_BK[rows],
            [self.image_ids[r] for r in rows],
            [self.patients[r] for r in rows],
        )


def _join(parts: Sequence[ImageBatch]) -> ImageBatch:
    return ImageBatch(
        np.concatenate([p.images_BHWC for p in parts]),
        np.concatenate([p.p_BV for p in parts]),
        np.concatenate([p.known_BK for p in parts]),
        np.concatenate([p.expert_BK for p in parts]),
        [i for p in parts for i in p.image_ids],
        [i for p in parts for i in p.patients],
    )


def decode_pixels(data: bytes) -> NDArray[np.uint8]:
    """(H, W, 3) pixels of a prepared or synthetic image."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def _decode_rows(table: pa.Table) -> ImageBatch:
    rows = table.to_pylist()
    p_BV, expert_BK = encode_values(rows)
    known_BK = expert_BK.copy()
    for b, row in enumerate(rows):
        for k, name in enumerate(LABEL_NAMES):
            filled = row[f"filled_{name}"]
            if filled is not None and not expert_BK[b, k]:
                # P(grade >= k) is what remains of the distribution from k on.
                p_BV[b, HEADS[name]] = np.cumsum(filled[::-1])[::-1][1:] if k == 0 else filled
                known_BK[b, k] = True
    return ImageBatch(
        np.stack([decode_pixels(row["image"]["bytes"]) for row in rows]),
        p_BV,
        known_BK,
        expert_BK,
        [row["image_id"] for row in rows],
        [row["patient"] for row in rows],
    )


class PreparedImages:
    """Reader of one complete `data/<name>/`. Memory: an index of 8 bytes an image and `CACHE_BYTES` of pixels."""

    def __init__(self, storage: Storage, folder: str) -> None:
        """Raises WrongInputError when the folder is not complete or is no dataset."""
        self.storage, self.folder = storage, folder
        self.manifest = read_manifest(storage, folder)
        if self.manifest.get("kind") != "data":
            raise WrongInputError(f"{folder} holds {self.manifest.get('kind')!r}, expected prepared images")
        self.size_px = int(self.manifest["size_px"])
        self._files: dict[str, pq.ParquetFile] = {}
        self._cache: OrderedDict[int, ImageBatch] = OrderedDict()
        self._cached_bytes = 0
        self._groups: list[tuple[str, int]] = []
        self._index: dict[str, list[NDArray[np.int32]]] = {split: [] for split in SPLITS}
        for name in sorted(file for file in self.manifest["files"] if file.endswith(".parquet")):
            file = self._open(name)
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, columns=["split"]).column("split").to_numpy()
                for split in SPLITS:
                    rows = np.flatnonzero(column == split).astype(np.int32)
                    place = np.full(len(rows), len(self._groups), np.int32)
                    self._index[split].append(np.stack([place, rows], axis=1))
                self._groups.append((name, group))
        self._places = {
            split: np.concatenate(parts or [np.zeros((0, 2), np.int32)]) for split, parts in self._index.items()
        }
        del self._index

    def _open(self, name: str) -> pq.ParquetFile:
        file = self._files.pop(name, None)
        if file is None:
            file = open_parquet(self.storage.open_input(f"{self.folder}/{name}"))
        self._files[name] = file  # the last used comes last
        while len(self._files) > MAX_OPEN_FILES:
            self._files.pop(next(iter(self._files))).close(force=True)
        return file

    def _group(self, number: int) -> ImageBatch:
        """A decoded row group, from the cache or from storage."""
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        name, group = self._groups[number]
        batch = _decode_rows(self._open(name).read_row_group(group))
        self._cache[number] = batch
        self._cached_bytes += batch.images_BHWC.nbytes
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].images_BHWC.nbytes
        return batch

    def num_images(self, split: str) -> int:
        return len(self._places[split])

    @property
    def num_cached(self) -> int:
        """Images that the cache holds; by their size alone, so equal on every machine."""
        return CACHE_BYTES // (3 * self.size_px**2)

    def batch(self, split: str, indices: Sequence[int] | NDArray[np.int64]) -> ImageBatch:
        """Images `indices` of a split, in the order asked. Indices are 0 … num_images(split) - 1."""
        places = self._places[split][np.asarray(indices, np.int64)]
        parts, order = [], []
        for group in np.unique(places[:, 0]):
            rows = np.flatnonzero(places[:, 0] == group)
            parts.append(self._group(int(group)).take(places[rows, 1].astype(np.int64)))
            order.append(rows)
        if not parts:
            empty = np.zeros((0, NUM_LABELS), np.bool_)
            pixels = np.zeros((0, self.size_px, self.size_px, 3), np.uint8)
            return ImageBatch(pixels, np.zeros((0, NUM_VALUES), np.float32), empty, empty, [], [])
        return _join(parts).take(np.argsort(np.concatenate(order), kind="stable"))

    def batches(self, split: str, batch_size: int) -> Iterator[ImageBatch]:
        """All images of a split in stored order; the last batch may be short."""
        for start in range(0, self.num_images(split), batch_size):
            yield self.batch(split, range(start, min(start + batch_size, self.num_images(split))))
