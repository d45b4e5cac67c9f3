"""Settings of `train-annotator`."""

from pydantic import Field

from synfundus.config import Config
from synfundus.training.config import OptimisationConfig


class AugmentationConfig(Config):
    """Strengths of the augmentation; 0 switches a kind off."""

    flip_probability: float = Field(default=0.5, ge=0.0, le=1.0)
    """Chance of a horizontal flip, which swaps `eye_side`."""
    rotation_deg: float = Field(default=10.0, ge=0.0, le=180.0)
    """Rotation is uniform within +- this."""
    scale: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Magnification is log-uniform within 1 +- this."""
    brightness: float = Field(default=0.2, ge=0.0)
    """Added to the normalised pixels, uniform within +- this."""
    contrast: float = Field(default=0.2, ge=0.0, le=1.0)
    """The distance from an image's own mean is multiplied by 1 +- this, uniform."""


class AnnotatorConfig(OptimisationConfig, AugmentationConfig):
    """How the annotator is trained. Everything here is part of the run's digest."""

    architecture: str
    """A name of timm's registry, for example resnet10t."""
    image_size_px: int = Field(ge=32, le=1024)
    """Side of the square that the network sees; prepared images are resized to it."""
    init_from: str | None = None
    """Weights to start from: a folder with model.safetensors, or a .safetensors or .pth file. A head that does not fit
    is dropped."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout before the head."""
