"""Everything that the protocol measures with."""

from collections.abc import Mapping
from dataclasses import dataclass

from synfundus.copies.gate import CopyGate
from synfundus.evaluation.config import EvaluationConfig
from synfundus.evaluation.finding_detector import FindingDetector
from synfundus.evaluation.grading import Graders
from synfundus.evaluation.spaces import Space
from synfundus.labels import FloatArray


@dataclass(frozen=True)
class Instruments:
    """Everything that the protocol measures with: settings, feature spaces and trained models."""

    config: EvaluationConfig
    spaces: Mapping[str, Space]
    """All feature spaces by name; the compared sets have features of those that are not skipped."""
    graders: Graders
    gate: CopyGate
    """Threshold of the copy detector, and what it finds."""
    detector: FindingDetector | str
    """Detector of findings in a study of phantoms, or the reason why there is none."""
    phantoms: Mapping[str, FloatArray] | None
    """Features of phantoms in each computed space, as a landmark; None if the photographs are phantoms."""
    min_patients: int
    """Smallest number of patients of a combination of findings that is named."""

    @property
    def computed_spaces(self) -> list[str]:
        """Names of the feature spaces that are not skipped."""
        return [name for name, space in self.spaces.items() if space.skipped is None]
