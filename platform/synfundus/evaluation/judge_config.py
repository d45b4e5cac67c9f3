"""Settings of the judge's training, which follow from those of the annotator."""

from typing import Final

from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.seeds import derive_seed

STEP_SHARE: Final = 0.5
"""Steps of the judge as a share of the annotator's. It has a fifth of the training patients, so it sees each photograph
twice as often. With as many epochs as the annotator it is a weaker grader: docs/evaluation.md has both."""


def judge_config(annotator: AnnotatorConfig) -> AnnotatorConfig:
    """Return the settings of the judge: those of the annotator, with half the steps, another seed and one worker."""
    return annotator.model_copy(
        update={
            "num_steps": max(1, round(STEP_SHARE * annotator.num_steps)),
            "warmup_steps": round(STEP_SHARE * annotator.warmup_steps),
            "seed": derive_seed("judge", annotator.seed),
            "resources": annotator.resources.model_copy(update={"num_workers": 1}),
        }
    )
