"""Write and read the encoder below `copy_detectors/<name>/`. Nothing is unpickled."""

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from synfundus.copies.config import CopyDetectorConfig
from synfundus.copies.encoder import CopyEncoder
from synfundus.copies.manifest import CONFIG, WEIGHTS, EncoderSpec
from synfundus.copies.network import CopyNetwork
from synfundus.storage import Storage, Written


def save_encoder(storage: Storage, folder: str, network: nn.Module, config: CopyDetectorConfig) -> list[Written]:
    """Write the shape and the weights of a trained encoder."""
    spec = EncoderSpec(image_size_px=config.image_size_px, width=config.width)
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    contents = {CONFIG: spec.to_json(), WEIGHTS: save_tensors(tensors)}
    return [storage.write_once(f"{folder}/{name}", data) for name, data in contents.items()]


def decode_encoder(spec: EncoderSpec, weights: bytes, device: torch.device | str) -> CopyEncoder:
    """Return the encoder in the bytes of `model.safetensors`."""
    network = CopyNetwork(spec.image_size_px, spec.width)
    network.load_state_dict(load_tensors(weights))
    return CopyEncoder(network, spec.image_size_px, device)
