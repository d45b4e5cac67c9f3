"""Images with labels that a network of the annotator's kind learns from."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from synfundus.diagnosis.counts import LabelCounts, count_batches
from synfundus.fundus.batches import ImageBatch, LabelBatch
from synfundus.fundus.dataset import READ_BATCH, PreparedImages


class TrainingSet(Protocol):
    """Labelled images, numbered from 0. Any number of threads may read it at once."""

    @property
    def name(self) -> str:
        """Folder that the images lie in, for messages."""
        ...

    @property
    def num_images(self) -> int: ...

    def count(self) -> LabelCounts:
        """Count the labels to learn from. Reads no image."""
        ...

    def batch(self, indices: NDArray[np.int64]) -> ImageBatch:
        """Return images in the order of `indices`; the labels to learn from are those marked as an expert's.

        Raises:
            StorageError: an image cannot be read or decoded.
        """
        ...


class SplitSet:
    """Images of one split of a dataset, all of them or some, with experts' labels."""

    def __init__(self, images: PreparedImages, split: str = "train", rows: NDArray[np.int64] | None = None) -> None:
        """Take the images of `split`, numbered as they are stored; `rows` chooses some of them."""
        self.images, self.split = images, split
        self.rows = np.arange(images.num_images(split)) if rows is None else rows

    @property
    def name(self) -> str:
        return self.images.folder

    @property
    def num_images(self) -> int:
        return len(self.rows)

    def count(self) -> LabelCounts:
        return count_batches(self._labels())

    def batch(self, indices: NDArray[np.int64]) -> ImageBatch:
        return self.images.batch(self.split, self.rows[indices])

    def _labels(self) -> Iterator[LabelBatch]:
        for start in range(0, len(self.rows), READ_BATCH):
            yield self.images.labels(self.split, self.rows[start : start + READ_BATCH])
