"""Settings of the endpoints: the resources of their two kinds of replicas, and whether copies are withheld."""

from synfundus.config import Config
from synfundus.resources import Precision, Resources


class GenerationResources(Resources):
    """Resources of one replica that generates images."""

    precision: Precision = "bf16"
    """Arithmetic of the U-Net. Images equal those of a release within rounding if `samples.resources` has the same."""


class ServingConfig(Config):
    """Settings of the endpoints. A replica of each kind may share one GPU: 0.8 and 0.2 of it."""

    generation: GenerationResources = GenerationResources()
    """Resources of a replica of `/v1/generate`."""
    diagnosis: Resources = Resources()
    """Resources of a replica of `/v1/diagnose`."""
    withhold_copies: bool = False
    """Compare the images of `/v1/generate` with all training photographs, and withhold those that `sample` would
    reject. Each replica then holds the copy detector and 0.5 KB per training photograph."""
