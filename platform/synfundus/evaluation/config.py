"""Settings of the evaluation."""

from pydantic import Field

from synfundus.config import Config
from synfundus.resources import Resources


class EvaluationConfig(Config):
    """Number of images that are compared, and the feature spaces."""

    max_images: int = Field(default=2000, ge=100)
    """Largest number of images of each set whose features are compared; labels are counted on all images."""
    min_images: int = Field(default=50, ge=20)
    """Smallest number of images of each set for which a comparison is measurable."""
    num_neighbours: int = Field(default=5, ge=1, lt=10)
    """Number of the nearest neighbour that bounds a neighbourhood, for precision, recall, density and coverage."""
    seed: int = Field(default=0, ge=0)
    """Seed of the choice of images, the jackknife's groups and the permuted requests."""
    inception_weights: str | None = None
    """File of the Inception weights of 2015-12-05 that torch-fidelity reads; null: that space is not computed."""
    resources: Resources = Resources()
    """Resources of the one worker that evaluates. No digest depends on them."""
