"""Accepted samples as a training set: labels in memory, encoded images in a file of this process."""

import os
import tempfile
from typing import IO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from synfundus.diagnosis.counts import LabelCounts
from synfundus.environment import Environment
from synfundus.errors import StorageError, WrongInputError
from synfundus.fundus.batches import ImageBatch
from synfundus.fundus.shard import decode_pixels
from synfundus.labels import NUM_LABELS, expand_known, head_values
from synfundus.samples.shards import label_columns, read_samples
from synfundus.seeds import random_numbers
from synfundus.storage import Storage
from synfundus.storage.base import write_error
from synfundus.transfer.cells import SampleChoice

Labels = NDArray[np.int8]
"""(N, 16) label values; -1 is unknown."""


class AcceptedSamples:
    """The accepted samples of a complete `samples/<name>/`. Any number of threads may read them at once.

    Reading one row of a shard would decompress 256 of them. So the encoded images are copied once to a file in the
    cache folder, which has no name and is gone when the process ends. Memory: 52 bytes per sample.
    """

    def __init__(self, storage: Storage, folder: str) -> None:
        """Read all accepted samples.

        Raises:
            WrongInputError: sampling has not finished.
            FullDiskError: the images do not fit on this machine's disk.
            StorageError: a file differs from the manifest, or the cache folder cannot be written.
        """
        self.folder = folder
        none = np.zeros((0, NUM_LABELS), np.int8)
        requested, predicted, ids, sizes = [none], [none], list[int](), list[int]()
        try:
            self._file = _unnamed_file()
            for _, table in read_samples(storage, folder):
                requested.append(label_columns(table, "condition"))
                predicted.append(label_columns(table, "annotation"))
                ids += table.column("sample_id").to_pylist()
                sizes += [self._file.write(image) for image in _encoded_images(table)]
            self._file.flush()
        except OSError as error:
            raise write_error(error, f"images of {folder} to {Environment().cache_folder}") from error
        self.requested_NK, self.predicted_NK = np.concatenate(requested), np.concatenate(predicted)
        self.ids_N, self._sizes_N = np.array(ids, np.int64), np.array(sizes, np.int32)
        self._offsets_N = np.cumsum(self._sizes_N, dtype=np.int64) - self._sizes_N

    def __len__(self) -> int:
        return len(self.ids_N)

    def labels(self, choice: SampleChoice, seed: int) -> Labels:
        """Return the labels to learn of all samples."""
        if choice.labels == "requested":
            label_NK = self.requested_NK
        elif choice.labels == "predicted":
            label_NK = self.predicted_NK
        else:
            label_NK = np.where(self.requested_NK == self.predicted_NK, self.requested_NK, -1).astype(np.int8)
        return label_NK[random_numbers("shuffled labels", seed).permutation(len(self))] if choice.shuffled else label_NK

    def pixels(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the images of some samples, (B, H, W, 3)."""
        return np.stack([self._decoded(int(row)) for row in rows])

    def _decoded(self, row: int) -> NDArray[np.uint8]:
        data = os.pread(self._file.fileno(), int(self._sizes_N[row]), int(self._offsets_N[row]))
        try:
            return decode_pixels(data)
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on a broken file
            raise StorageError(
                f"{self.folder}: sample {self.ids_N[row]} does not decode ({error}); restore the folder or sample again"
            ) from error


def _unnamed_file() -> IO[bytes]:
    folder = Environment().cache_folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return tempfile.TemporaryFile(dir=folder)


def _encoded_images(table: pa.Table) -> list[bytes]:
    return [image["bytes"].as_py() for image in table.column("image")]


class SampleSet:
    """Samples as a `TrainingSet`: all of them, or some that the seed chooses."""

    def __init__(self, samples: AcceptedSamples, choice: SampleChoice, seed: int, num_photographs: int = 0) -> None:
        """Choose the samples.

        Args:
            num_photographs: number of photographs that `choice.ratio` is a multiple of.

        Raises:
            WrongInputError: fewer samples were accepted than the ratio requires.
        """
        self._samples = samples
        self._rows = np.arange(len(samples))
        if choice.ratio is not None:
            self._rows = self._chosen(round(choice.ratio * num_photographs), seed)
        self._label_NK = samples.labels(choice, seed)[self._rows]

    def _chosen(self, number: int, seed: int) -> NDArray[np.int64]:
        """Return the first rows in the order of the seed, so that a larger ratio adds samples and removes none."""
        if number > len(self._samples):
            raise WrongInputError(
                f"{self._samples.folder}: the arm needs {number} samples, but {len(self._samples)} are accepted;"
                " sample more, or lower added_samples"
            )
        return random_numbers("added samples", seed).permutation(len(self._samples))[:number]

    @property
    def name(self) -> str:
        return self._samples.folder

    @property
    def num_images(self) -> int:
        return len(self._rows)

    def count(self) -> LabelCounts:
        return LabelCounts(self._label_NK >= 0, head_values(self._label_NK).astype(np.int64).sum(axis=0))

    def batch(self, indices: NDArray[np.int64]) -> ImageBatch:
        rows, label_BK = self._rows[indices], self._label_NK[indices]
        known_BK = label_BK >= 0
        ids = [str(i) for i in self._samples.ids_N[rows]]
        p_BV = np.where(expand_known(known_BK), head_values(label_BK), np.float32(0))
        return ImageBatch(p_BV, known_BK, known_BK, ids, ids, images_BHWC=self._samples.pixels(rows))
