"""The stages of a study, one a file, and their one runner."""

from typing import Any, Final

from synfundus.stages.annotator import TrainAnnotator
from synfundus.stages.evaluate import EvaluateStage
from synfundus.stages.fill import Fill
from synfundus.stages.generator import TrainGenerator
from synfundus.stages.prepare import Prepare
from synfundus.stages.publish import PublishStage
from synfundus.stages.sample import SampleStage
from synfundus.stages.stage import Stage

STAGES: Final[tuple[Stage[Any], ...]] = (
    Prepare(),
    TrainAnnotator(),
    Fill(),
    TrainGenerator(),
    SampleStage(),
    EvaluateStage(),
    PublishStage(),
)
"""All stages, in the order in which they run."""

__all__ = ["STAGES"]
