"""Settings of `evaluate`."""

from pydantic import Field

from synfundus.config import Config


class EvaluationConfig(Config):
    """What is measured, and on how many images."""

    max_images: int = Field(default=2000, ge=100)
    """Images of each set that are looked at in feature spaces; labels are counted on all."""
    min_images: int = Field(default=50, ge=20)
    """A comparison of fewer images of each set is not measurable."""
    num_neighbours: int = Field(default=5, ge=1, lt=10)
    """Which nearest neighbour bounds a neighbourhood, for precision, recall, density and coverage."""
    seed: int = Field(default=0, ge=0)
    """Of which images are drawn, of the jackknife's groups and of the permuted conditions."""
    inception_weights: str | None = None
    """File with the Inception weights of 2015-12-05 as torch-fidelity takes them; null: that space is not computed."""
