"""The stages of a study, one per file, and their one runner."""

from typing import Any, Final

from synfundus.stages.annotator import TrainAnnotatorStage
from synfundus.stages.evaluate import EvaluateStage
from synfundus.stages.fill import FillStage
from synfundus.stages.generator import TrainGeneratorStage
from synfundus.stages.prepare import PrepareStage
from synfundus.stages.publish import PublishStage
from synfundus.stages.sample import SampleStage
from synfundus.stages.stage import Stage

STAGES: Final[tuple[Stage[Any], ...]] = (
    PrepareStage(),
    TrainAnnotatorStage(),
    FillStage(),
    TrainGeneratorStage(),
    SampleStage(),
    EvaluateStage(),
    PublishStage(),
)
"""All stages, in the order in which they run."""

__all__ = ["STAGES"]
