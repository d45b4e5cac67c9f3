"""Write and read a trained generator: diffusers' layout, safetensors, a manifest with digests.

    <folder>/unet/config.json, unet/diffusion_pytorch_model.safetensors     UNet2DConditionModel.from_pretrained
    <folder>/scheduler/scheduler_config.json                                DDIMScheduler.from_pretrained
    <folder>/metrics.json                                                   metrics of the training
    <folder>/manifest.json                                                  written last

Nothing is unpickled. docs/generator.md shows how to sample with diffusers alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from synfundus.diffusion.config import ScheduleConfig
from synfundus.diffusion.manifest import SCHEDULER_CONFIG, UNET_CONFIG, UNET_WEIGHTS, GeneratorManifest
from synfundus.diffusion.metrics import GeneratorMetrics
from synfundus.diffusion.schedule import Schedule
from synfundus.diffusion.unet import IMAGE_CHANNELS
from synfundus.digests import canonical_json
from synfundus.errors import WrongInputError
from synfundus.fundus.origin import OTHER_SOURCES, Origin
from synfundus.storage import METRICS, Storage, read_manifest, read_trusted, write_manifest


@dataclass(frozen=True, eq=False)
class Generator:
    """A loaded generator, ready for sampling."""

    unet: nn.Module
    """diffusers' UNet2DConditionModel with its averaged weights, channels_last, in evaluation mode."""
    schedule: ScheduleConfig
    size_px: int
    """Height and width of the images."""
    digest: str
    """`GeneratorManifest.generator_digest`: two generators with one digest make the same samples."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width in px, as `Engine` expects them."""
        return IMAGE_CHANNELS, self.size_px, self.size_px


def save_generator(
    storage: Storage,
    folder: str,
    unet: nn.Module,
    schedule: ScheduleConfig,
    metrics: GeneratorMetrics,
    digest: str,
    origin: Origin = OTHER_SOURCES,
    images_digest: str | None = None,
) -> GeneratorManifest:
    """Write a generator to `folder`, its manifest last.

    Args:
        unet: diffusers' UNet2DConditionModel with the weights to save (the averaged ones).
        digest: digest of everything that the training depends on.
        origin: origin of the images that it was trained on.
        images_digest: digest of these images; None if it is unknown.

    Raises:
        AlreadyExistsError: the folder holds another generator.
    """
    network: Any = unet
    weights = {name: value.detach().cpu().contiguous() for name, value in unet.state_dict().items()}
    contents = {
        UNET_CONFIG: canonical_json(json.loads(network.to_json_string())),
        UNET_WEIGHTS: safetensors.torch.save(weights, {"format": "pt"}),
        SCHEDULER_CONFIG: canonical_json(Schedule(schedule).scheduler_config()),
        METRICS: metrics.to_json(),
    }
    written = [storage.write_once(f"{folder}/{name}", data) for name, data in contents.items()]
    manifest = GeneratorManifest(
        digest=digest,
        size_px=network.config.sample_size,
        schedule=schedule,
        origin=origin,
        images_digest=images_digest,
    )
    return write_manifest(storage, folder, written, manifest)


def load_generator(storage: Storage, folder: str, device: torch.device | str = "cpu") -> Generator:
    """Load the generator in `folder`; each file is verified against the manifest.

    Raises:
        WrongInputError: the folder is not complete or holds no generator.
        StorageError: a file differs from its manifest, or the manifest is one of another version.
    """
    from diffusers import UNet2DConditionModel

    manifest = read_manifest(storage, folder, GeneratorManifest)
    read_trusted(storage, folder, SCHEDULER_CONFIG, manifest)
    unet = UNet2DConditionModel.from_config(json.loads(read_trusted(storage, folder, UNET_CONFIG, manifest)))
    weights = safetensors.torch.load(read_trusted(storage, folder, UNET_WEIGHTS, manifest))
    load_weights(unet, weights, f"{folder}/{UNET_WEIGHTS}")
    unet.to(device=device, memory_format=torch.channels_last).requires_grad_(False).eval()
    return Generator(unet, manifest.schedule, manifest.size_px, manifest.generator_digest)


def read_unet_weights(source: str) -> dict[str, Tensor]:
    """Read the tensors of a U-Net from a .safetensors file, a folder `unet/` of diffusers, or the folder above it.

    Raises:
        WrongInputError: there is no such file, or it is not safetensors.
    """
    path = Path(source).expanduser()
    file = Path(UNET_WEIGHTS).name
    candidates = [path] if path.suffix == ".safetensors" else [path / UNET_WEIGHTS, path / file]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise WrongInputError(
            f"init_from: no weights at {source} (looked for {' and '.join(map(str, candidates))}); correct the path"
        )
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(found)
    except (SafetensorError, OSError) as error:
        raise WrongInputError(
            f"init_from: cannot read {found} as safetensors ({error}); give a file of safetensors"
        ) from error
    return tensors


def load_weights(unet: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load all of `weights` into `unet`.

    Raises:
        WrongInputError: a tensor is missing, unexpected or of another shape; the message names it.
    """
    expected = unet.state_dict()
    remedy = "give weights of a U-Net with the same settings as `unet`"
    for name, value in expected.items():
        if name not in weights:
            raise WrongInputError(f"{source}: no tensor {name}; {remedy}")
        if weights[name].shape != value.shape:
            shapes = f"{tuple(weights[name].shape)}, expected {tuple(value.shape)}"
            raise WrongInputError(f"{source}: {name} has shape {shapes}; {remedy}")
    for name in weights:
        if name not in expected:
            raise WrongInputError(f"{source}: tensor {name} is not in the U-Net; {remedy}")
    unet.load_state_dict(dict(weights))
