"""The stages of a study, one per file, and their one runner."""

from typing import Any, Final

from synfundus.stages.annotator import TrainAnnotatorStage
from synfundus.stages.copy_detector import TrainCopyDetectorStage
from synfundus.stages.evaluate import EvaluateStage
from synfundus.stages.fill import FillStage
from synfundus.stages.generator import TrainGeneratorStage
from synfundus.stages.prepare import PrepareStage
from synfundus.stages.publish import PublishStage
from synfundus.stages.sample import SampleStage
from synfundus.stages.stage import Stage
from synfundus.stages.transfer import TransferStage
from synfundus.study import Study

STAGES: Final[tuple[Stage[Any], ...]] = (
    PrepareStage(),
    TrainAnnotatorStage(),
    FillStage(),
    TrainCopyDetectorStage(),
    TrainGeneratorStage(),
    SampleStage(),
    TransferStage(),
    EvaluateStage(),
    PublishStage(),
)
"""All stages, in the order in which they run."""


def stages_of(study: Study) -> tuple[Stage[Any], ...]:
    """Return the stages that a run of the whole study takes, in their order."""
    return tuple(stage for stage in STAGES if stage.is_part_of(study))


__all__ = ["STAGES", "stages_of"]
