"""Records about copies of training photographs, which several rooms share. `copies` has the detector itself."""

from dataclasses import dataclass
from typing import Final, Literal

from synfundus.measures.measure import Measure
from synfundus.metadata import Metadata

COPY_SPACE: Final = "codes of the copy detector, which was trained on altered training photographs"
"""Space in which distances to training photographs are measured, in words."""


class CopyDetectorMetrics(Metadata):
    """Content of a copy detector's `metrics.json`: what it finds and what it rejects."""

    version: Literal[1] = 1
    """Schema of this record."""
    found: dict[str, Measure]
    """Share of altered copies of training photographs that are found, by kind of alteration."""
    false_rejections: Measure
    """Share of the test photographs, which show other people, that count as copies."""


@dataclass(frozen=True)
class SampledCounts:
    """Samples that the stage `sample` made and compared with every training image."""

    num_sampled: int
    """Samples over all attempts, accepted or not."""
    num_near: int
    """Samples among them that were rejected, because their distance ratio lies below the threshold."""
