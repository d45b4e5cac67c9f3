"""Settings of the judge's training, which follow from those of the annotator and from the sizes of the splits."""

from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.fundus.manifest import DataManifest
from synfundus.seeds import derive_seed


def judge_config(annotator: AnnotatorConfig, data: DataManifest) -> AnnotatorConfig:
    """Return the settings of the judge: those of the annotator, with fewer steps, another seed and one worker.

    The steps are those of the annotator times the ratio of their images, so that the judge sees its photographs as
    often as the annotator sees its own.
    """
    share = data.num_images.judge / max(1, data.num_images.train)
    return annotator.model_copy(
        update={
            "num_steps": max(1, round(share * annotator.num_steps)),
            "warmup_steps": round(share * annotator.warmup_steps),
            "seed": derive_seed("judge", annotator.seed),
            "resources": annotator.resources.model_copy(update={"num_workers": 1}),
        }
    )
