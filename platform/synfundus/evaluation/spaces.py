"""Feature spaces: which ones there are, and how they turn images into features."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from synfundus.evaluation.config import EvaluationConfig
from synfundus.labels import FloatArray

SPACES: Mapping[str, str] = {"annotator": "Annotator features", "inception": "Inception features"}
"""Title of each space."""
Extractor = Callable[[NDArray[np.uint8]], FloatArray]
"""Maps uint8 images (B, H, W, 3) to features (B, D)."""
Extractors = Mapping[str, Extractor]
"""Extractor of each space that is computed."""


def skipped_spaces(config: EvaluationConfig, *, annotator_sees_images: bool) -> dict[str, str | None]:
    """Return for each space the reason why it is not computed, or None if it is."""
    return {
        "annotator": None
        if annotator_sees_images
        else "the annotator is a table of predictions, which has no features",
        "inception": None
        if config.inception_weights is not None
        else "evaluation.inception_weights names no file of weights",
    }
