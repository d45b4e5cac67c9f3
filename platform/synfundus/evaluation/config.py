"""Settings of the evaluation."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from synfundus.config import Config
from synfundus.resources import Resources

OWN_SPACES: Final = ("judge", "annotator", "inception")
"""Feature spaces that need no entry in `encoders`."""


class EncoderConfig(Config):
    """A network whose features are a further space: an architecture of timm with the weights of a file."""

    architecture: str
    """Model name in timm's registry, for example vit_small_patch14_dinov2."""
    weights: str
    """File with the weights in timm's layout: .safetensors or .pth. Nothing is downloaded."""
    image_size_px: int | None = Field(default=None, ge=32, le=1024)
    """Height and width of the network's input; null: those of the architecture's own weights."""


def _refuse_own_spaces(encoders: dict[str, EncoderConfig]) -> dict[str, EncoderConfig]:
    if taken := [name for name in encoders if name in OWN_SPACES]:
        raise ValueError(f"{taken[0]} is the name of another feature space; choose another name")
    return encoders


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
    attack_max_images: int = Field(default=500, ge=20)
    """Largest number of training photographs, and of held-out photographs, in the membership attack on the generator's
    weights. 1 % false accusations need 368 held-out photographs, 0.1 % need 3,688."""
    reference_generators: tuple[str, ...] = ()
    """Names of generators below the root that calibrate this attack. They must not have been trained on these
    photographs, or on a random part of the training and held-out photographs alike."""
    inception_weights: str | None = None
    """File of the Inception weights of 2015-12-05 that torch-fidelity reads; null: that space is not computed."""
    encoders: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")], EncoderConfig],
        AfterValidator(_refuse_own_spaces),
    ] = Field(default_factory=dict)
    """Further feature spaces by name."""
    resources: Resources = Resources()
    """Resources of the one worker that evaluates. No digest depends on them."""
