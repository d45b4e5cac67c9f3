"""Readers of the prepared images in `data/<name>/`: labels only, or labels with pixels in bounded memory."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from synfundus.fundus.batches import ImageBatch, LabelBatch
from synfundus.fundus.index import INDEX, Records, addresses, decode_labels, open_index
from synfundus.fundus.manifest import DataManifest
from synfundus.fundus.shard import decode_pixels
from synfundus.fundus.shard_files import ShardFiles
from synfundus.fundus.splits import SPLITS
from synfundus.storage import LocalCopies, Storage, read_manifest, read_trusted

READ_BATCH = 256
"""Images that `PreparedImages.batches` decodes at once, unless its caller says otherwise."""


def read_labels(storage: Storage, folder: str, split: str) -> Iterator[LabelBatch]:
    """Yield the labels of a split in stored order, `READ_BATCH` images at a time; no shard is opened.

    Raises:
        WrongInputError: the folder is not complete or holds no prepared images.
    """
    images = PreparedImages(storage, folder)
    for start in range(0, images.num_images(split), READ_BATCH):
        yield images.labels(split, range(start, min(start + READ_BATCH, images.num_images(split))))


class PreparedImages:
    """Reader of one complete `data/<name>/`. Any number of threads may use it at once.

    Memory: 4 bytes per image, the index (161 bytes per image, mapped, so that the processes of a machine share it), and
    the images that are returned. Encoded images are read where they lie: in the files of a root on this machine, else
    in copies on its disk (`synfundus.storage.local_copies`).
    """

    def __init__(self, storage: Storage, folder: str) -> None:
        """Read the manifest and open the index; no shard is opened.

        Raises:
            WrongInputError: the folder is not complete or holds no prepared images.
            StorageError: the index is missing or damaged.
        """
        self.storage, self.folder = storage, folder
        self.manifest = read_manifest(storage, folder, DataManifest)
        self.size_px = self.manifest.size_px
        self.manifest.sha256(INDEX)  # refuses a dataset without an index
        self._copies = LocalCopies(storage, folder, self.manifest)
        self._shards = self.manifest.shards
        self._files = ShardFiles(self._copies, self._shards)
        self._records = open_index(self._copies.path(INDEX), f"{folder}/{INDEX}")
        split_N = self._records["split"]
        self._rows = {split: np.flatnonzero(split_N == i).astype(np.int32) for i, split in enumerate(SPLITS)}

    def num_images(self, split: str) -> int:
        return len(self._rows[split])

    def copy_to_this_machine(self) -> None:
        """Copy all shards to this machine's disk, unless the root lies on it; for a reader in random order.

        Raises:
            FullDiskError: the shards do not fit.
            StorageError: a shard differs from the manifest, or the cache cannot be written.
        """
        self._copies.copy(self._shards)

    def labels(self, split: str, indices: Sequence[int] | NDArray[np.int64]) -> LabelBatch:
        """Return the labels of images of a split, in the order of `indices`."""
        return decode_labels(self._of(split, indices))

    def batch(self, split: str, indices: Sequence[int] | NDArray[np.int64]) -> ImageBatch:
        """Return images of a split in the order of `indices`, which run from 0 to num_images(split) - 1.

        Raises:
            StorageError: an image cannot be read or decoded; the text names the shard.
        """
        records_B = self._of(split, indices)
        return self._decode(records_B, (self._files.read(*address) for address in addresses(records_B)))

    def batches(self, split: str, batch_size: int = READ_BATCH) -> Iterator[ImageBatch]:
        """Yield all images of a split in stored order; the last batch may be short.

        A shard that has no file on this machine is held in memory, one at a time, and not copied to the disk.
        """
        return self._in_order(split, np.arange(self.num_images(split)), batch_size)

    def batches_of(self, split: str, indices: NDArray[np.int64]) -> Iterator[ImageBatch]:
        """Yield images of a split, `READ_BATCH` at a time, in the order of `indices`, which ascend.

        A shard that has no file on this machine is held in memory, as by `batches`.
        """
        return self._in_order(split, indices, READ_BATCH)

    def _in_order(self, split: str, indices: NDArray[np.int64], batch_size: int) -> Iterator[ImageBatch]:
        held: dict[int, bytes | None] = {}
        for start in range(0, len(indices), batch_size):
            records_B = self._of(split, indices[start : start + batch_size])
            yield self._decode(records_B, self._read_in_order(records_B, held))

    def _of(self, split: str, indices: Sequence[int] | NDArray[np.int64]) -> Records:
        return self._records[self._rows[split][np.asarray(indices, np.int64)]]

    def _decode(self, records_B: Records, encoded: Iterable[bytes]) -> ImageBatch:
        labels = decode_labels(records_B)
        images_BHWC = np.empty((len(records_B), self.size_px, self.size_px, 3), np.uint8)
        for b, data in enumerate(encoded):
            try:
                images_BHWC[b] = decode_pixels(data)
            except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on a broken file
                what = f"image {labels.image_ids[b]} does not decode ({error})"
                raise self._files.damaged(int(records_B["shard"][b]), what) from error
        return ImageBatch(
            labels.p_BV, labels.known_BK, labels.expert_BK, labels.image_ids, labels.patients, images_BHWC=images_BHWC
        )

    def _read_in_order(self, records_B: Records, held: dict[int, bytes | None]) -> Iterator[bytes]:
        """Yield encoded images in stored order.

        Args:
            held: the bytes of the last shard, or None if it has a file; kept from call to call.
        """
        for shard, offset, size in addresses(records_B):
            if shard not in held:
                held.clear()
                file = self._shards[shard]
                is_file = self._copies.existing(file) is not None
                held[shard] = None if is_file else read_trusted(self.storage, self.folder, file, self.manifest)
            data = held[shard]
            yield self._files.read(shard, offset, size) if data is None else data[offset : offset + size]
