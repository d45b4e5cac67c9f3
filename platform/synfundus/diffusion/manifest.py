"""The manifest of a generator below `generators/<name>/`, and the names of its files."""

from typing import Literal

from synfundus.diffusion.config import ScheduleConfig
from synfundus.digests import digest_of
from synfundus.fundus.origin import OTHER_SOURCES, Origin
from synfundus.storage import Manifest

UNET_CONFIG = "unet/config.json"
UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
SCHEDULER_CONFIG = "scheduler/scheduler_config.json"


class GeneratorManifest(Manifest):
    """Manifest of a generator."""

    kind: Literal["generator"] = "generator"
    size_px: int
    """Height and width of the images."""
    schedule: ScheduleConfig
    """Noise schedule on which the U-Net was trained."""
    origin: Origin = OTHER_SOURCES
    """Origin of the images that it was trained on."""
    images_digest: str | None = None
    """`images_digest` of the dataset that it was trained on; null if that was not recorded."""

    @property
    def generator_digest(self) -> str:
        """SHA-256 over weights, U-Net settings and schedule: two generators with one digest make the same samples.

        Neither metrics nor the settings of the training enter it.
        """
        digests = {name: self.sha256(name) for name in (UNET_CONFIG, UNET_WEIGHTS, SCHEDULER_CONFIG)}
        return digest_of({"files": digests, "schedule": self.schedule.model_dump(mode="json")})
