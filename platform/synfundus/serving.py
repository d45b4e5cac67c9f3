"""Settings of the endpoints: the resources of their two kinds of replicas."""

from synfundus.config import Config
from synfundus.resources import Precision, Resources


class GenerationResources(Resources):
    """Resources of one replica that generates images."""

    precision: Precision = "bf16"
    """Arithmetic of the U-Net. Images equal those of a release within rounding if `samples.resources` has the same."""


class ServingConfig(Config):
    """Resources of the replicas of the endpoints. A replica of each kind may share one GPU: 0.8 and 0.2 of it."""

    generation: GenerationResources = GenerationResources()
    """Resources of a replica of `/v1/generate`."""
    diagnosis: Resources = Resources()
    """Resources of a replica of `/v1/diagnose`."""
