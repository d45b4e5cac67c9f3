"""A trained generator on storage: diffusers' layout, safetensors, a manifest with hashes.

    <folder>/unet/config.json, unet/diffusion_pytorch_model.safetensors     UNet2DConditionModel.from_pretrained
    <folder>/scheduler/scheduler_config.json                                DDIMScheduler.from_pretrained
    <folder>/metrics.json                                                   of the training
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
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from synfundus.diffusion.config import ScheduleConfig
from synfundus.diffusion.schedule import Schedule
from synfundus.diffusion.unet import IMAGE_CHANNELS
from synfundus.digests import canonical_json, sha256_hex
from synfundus.errors import WrongInputError
from synfundus.storage import Storage, read_manifest, read_trusted, write_manifest

UNET_CONFIG = "unet/config.json"
UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
SCHEDULER_CONFIG = "scheduler/scheduler_config.json"
METRICS = "metrics.json"
KIND = "generator"


@dataclass(frozen=True, eq=False)
class Generator:
    """What sampling needs."""

    unet: nn.Module
    """diffusers' UNet2DConditionModel with its averaged weights, channels_last, in evaluation mode."""
    schedule: ScheduleConfig
    size_px: int
    digest: str
    """SHA-256 over weights, U-Net settings and schedule: two generators with one digest make the same samples."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width in px, as the engine takes them."""
        return IMAGE_CHANNELS, self.size_px, self.size_px


def _digest(manifest: Mapping[str, Any]) -> str:
    """Of what decides the samples; not of metrics, nor of where and how the training ran."""
    parts = {name: manifest["files"][name]["sha256"] for name in (UNET_CONFIG, UNET_WEIGHTS, SCHEDULER_CONFIG)}
    return sha256_hex(canonical_json({"files": parts, "schedule": manifest["schedule"]}))


def save_generator(
    storage: Storage,
    folder: str,
    unet: nn.Module,
    schedule: ScheduleConfig,
    metrics: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> str:
    """Write a generator below `folder`; its manifest, last, holds `facts` too.

    Args:
        unet: diffusers' UNet2DConditionModel with the weights to keep (the averaged ones).

    Returns:
        The generator's digest.

    Raises:
        AlreadyExistsError: the folder holds another generator.
    """
    network: Any = unet
    weights = {name: value.detach().cpu().contiguous() for name, value in unet.state_dict().items()}
    contents = {
        UNET_CONFIG: canonical_json(json.loads(network.to_json_string())),
        UNET_WEIGHTS: safetensors.torch.save(weights, {"format": "pt"}),
        SCHEDULER_CONFIG: canonical_json(Schedule(schedule).scheduler_config()),
        METRICS: canonical_json(metrics),
    }
    written = [storage.write_once(f"{folder}/{name}", data) for name, data in contents.items()]
    own_facts = {"kind": KIND, "size_px": network.config.sample_size, "schedule": schedule.model_dump(mode="json")}
    return _digest(write_manifest(storage, folder, written, {**facts, **own_facts}))


def load_generator(storage: Storage, folder: str, device: torch.device | str = "cpu") -> Generator:
    """The generator below `folder`, its hashes verified.

    Raises:
        WrongInputError: the folder is not complete or holds something else.
        StorageError: a file differs from what its manifest says.
    """
    from diffusers import UNet2DConditionModel

    manifest = read_manifest(storage, folder)
    if manifest.get("kind") != KIND:
        raise WrongInputError(f"{folder} holds {manifest.get('kind')!r}, expected a generator")
    try:
        schedule = ScheduleConfig.model_validate(manifest["schedule"])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(["schedule", *map(str, first["loc"])])
        raise WrongInputError(
            f"{folder}/manifest.json: schedule is not one of this version ({where}: {first['msg']}); upgrade synfundus"
        ) from error
    read_trusted(storage, folder, SCHEDULER_CONFIG, manifest)
    unet = UNet2DConditionModel.from_config(json.loads(read_trusted(storage, folder, UNET_CONFIG, manifest)))
    weights = safetensors.torch.load(read_trusted(storage, folder, UNET_WEIGHTS, manifest))
    load_weights(unet, weights, f"{folder}/{UNET_WEIGHTS}")
    unet.to(device=device, memory_format=torch.channels_last).requires_grad_(False).eval()
    return Generator(unet, schedule, int(manifest["size_px"]), _digest(manifest))


def read_weights(source: str) -> dict[str, Tensor]:
    """Tensors of a U-Net: a .safetensors file, a directory `unet/` of diffusers, or the directory around one.

    Raises:
        WrongInputError: there is no such file, or it is not safetensors.
    """
    path = Path(source).expanduser()
    file = Path(UNET_WEIGHTS).name
    candidates = [path] if path.suffix == ".safetensors" else [path / UNET_WEIGHTS, path / file]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise WrongInputError(f"init_from: no weights at {source}; looked for {' and '.join(map(str, candidates))}")
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(found)
    except (SafetensorError, OSError) as error:
        raise WrongInputError(f"init_from: cannot read {found} as safetensors: {error}") from error
    return tensors


def load_weights(unet: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Put `weights` into `unet`, all of them.

    Raises:
        WrongInputError: names the first tensor that is missing, too much, or of another shape.
    """
    wanted = unet.state_dict()
    remedy = "give weights of a U-Net with the same settings as `unet`"
    for name, value in wanted.items():
        if name not in weights:
            raise WrongInputError(f"{source} has no tensor {name}; {remedy}")
        if weights[name].shape != value.shape:
            shapes = f"{tuple(weights[name].shape)}, expected {tuple(value.shape)}"
            raise WrongInputError(f"{source}: {name} has shape {shapes}; {remedy}")
    for name in weights:
        if name not in wanted:
            raise WrongInputError(f"{source} has a tensor {name} that the U-Net lacks; {remedy}")
    unet.load_state_dict(dict(weights))
