"""Counts of experts' labels in a split."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.fundus.batches import LabelBatch
from synfundus.labels import NUM_LABELS, NUM_VALUES, expand_known


@dataclass(frozen=True)
class LabelCounts:
    """Experts' labels of a split."""

    expert_NK: NDArray[np.bool_]
    """True (N, 16) for a label from an expert, in the order of the split."""
    positive_V: NDArray[np.int64]
    """Number of images (19,) that an expert labelled positive, by head."""

    @property
    def known(self) -> NDArray[np.int64]:
        """Number of images (19,) that an expert labelled, by head."""
        return np.asarray(expand_known(self.expert_NK).sum(axis=0))

    @property
    def both_classes(self) -> NDArray[np.bool_]:
        """True (19,) for heads with positives and negatives."""
        return np.asarray((self.positive_V > 0) & (self.positive_V < self.known))

    def teaching(self) -> NDArray[np.int64]:
        """Return the images of the split with an expert's label for a head that has both classes."""
        return np.flatnonzero((expand_known(self.expert_NK) & self.both_classes).any(axis=1))


def count_batches(batches: Iterable[LabelBatch]) -> LabelCounts:
    """Count the experts' labels of some batches. Memory: 16 bytes per image."""
    expert_NK = [np.zeros((0, NUM_LABELS), np.bool_)]
    positive_V = np.zeros(NUM_VALUES, np.int64)
    for batch in batches:
        expert_NK.append(batch.expert_BK)
        positive_V += np.where(expand_known(batch.expert_BK), batch.p_BV, 0).astype(np.int64).sum(axis=0)
    return LabelCounts(np.concatenate(expert_NK), positive_V)
