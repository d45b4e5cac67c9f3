"""Settings of a set of phantoms."""

from pydantic import Field

from synfundus.config import Config


class PhantomConfig(Config):
    """Settings of a set of phantoms."""

    num_images: int = Field(default=2000, ge=1)
    """Number of phantoms."""
    size_px: int = Field(default=64, ge=32, le=512)
    """Side of the square image in pixels."""
    seed: int = Field(default=0, ge=0)
    """Seed of the set. Another seed gives other eyes."""
    null_fraction: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Fraction of labels that are hidden (null), so that there is something to fill."""
    images_per_patient: int = Field(default=2, ge=1)
    """Images of one patient, right and left eye in turn."""
