"""Feature spaces: which ones there are, and how they turn images into features."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.evaluation.config import EvaluationConfig
from synfundus.fundus.splits import NO_JUDGE
from synfundus.labels import FloatArray

Extractor = Callable[[NDArray[np.uint8]], FloatArray]
"""Maps uint8 images (B, H, W, 3) to features (B, D)."""
Extractors = Mapping[str, Extractor]
"""Extractor of each space that is computed."""


@dataclass(frozen=True)
class Space:
    """A feature space of the evaluation."""

    title: str
    skipped: str | None = None
    """Reason why it is not computed; None if it is."""


def feature_spaces(config: EvaluationConfig, *, has_judge: bool, annotator_sees_images: bool) -> dict[str, Space]:
    """Return all spaces by name. The first that is computed gives the main results."""
    table = None if annotator_sees_images else "the annotator is a table of predictions, which has no features"
    no_weights = "evaluation.inception_weights names no file of weights" if config.inception_weights is None else None
    return {
        "judge": Space("Judge features", None if has_judge else NO_JUDGE),
        "annotator": Space("Annotator features", table),
        **{name: Space(f"{name} features ({encoder.architecture})") for name, encoder in config.encoders.items()},
        "inception": Space("Inception features", no_weights),
    }
