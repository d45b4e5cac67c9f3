"""Which labels experts gave for a part of the prepared images, and how many of each value."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.fundus.dataset import PreparedImages
from synfundus.labels import LABEL_NAMES, NUM_LABELS, NUM_VALUES, encode_values, expand_known
from synfundus.storage.parquet import open_parquet


@dataclass(frozen=True)
class LabelCounts:
    """Experts' labels of a split."""

    expert_NK: NDArray[np.bool_]
    """(N, 16): an expert said so; in the order of the split."""
    positive_V: NDArray[np.int64]
    """(19,) images of which a head is true."""

    @property
    def known(self) -> NDArray[np.int64]:
        """(19,) images of which a head is known."""
        return np.asarray(expand_known(self.expert_NK).sum(axis=0))

    @property
    def both_classes(self) -> NDArray[np.bool_]:
        """(19,): the head has positives and negatives."""
        return np.asarray((self.positive_V > 0) & (self.positive_V < self.known))

    def teaching(self) -> NDArray[np.int64]:
        """Images of the split from which a head with both classes can learn."""
        return np.flatnonzero((expand_known(self.expert_NK) & self.both_classes).any(axis=1))


def count_labels(images: PreparedImages, split: str) -> LabelCounts:
    """Read the label columns alone, a row group at a time; no pixel is decoded. Memory: 16 bytes an image."""
    expert_NK = [np.zeros((0, NUM_LABELS), np.bool_)]
    positive_V = np.zeros(NUM_VALUES, np.int64)
    for name in sorted(file for file in images.manifest["files"] if file.endswith(".parquet")):
        with images.storage.open_input(f"{images.folder}/{name}") as source:
            file = open_parquet(source)
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, columns=["split", *LABEL_NAMES]).to_pylist()
                p_BV, known_BK = encode_values([row for row in rows if row["split"] == split])
                expert_NK.append(known_BK)
                positive_V += p_BV.astype(np.int64).sum(axis=0)
    return LabelCounts(np.concatenate(expert_NK), positive_V)
