"""Encoders that a study names: timm networks with the weights of a file, used for the features before their head."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from synfundus.diagnosis.annotator import NetworkScorer
from synfundus.diagnosis.model import ModelSpec, read_weights, require_architecture
from synfundus.errors import WrongInputError
from synfundus.evaluation.config import EncoderConfig


def build_encoder(config: EncoderConfig, device: torch.device | str = "cpu") -> NetworkScorer:
    """Return the network with the weights of the file; `features` is the only method to use.

    The file may have any head or none. timm fits position embeddings to the image size.

    Raises:
        WrongInputError: timm has no such architecture, the file cannot be read or lacks tensors of the network, or the
            architecture does not take this image size.
    """
    import timm

    require_architecture(config.architecture, "evaluation.encoders: architecture")
    tensors = read_weights(config.weights)
    known: Any = timm.get_pretrained_cfg(config.architecture)
    size_px = config.image_size_px or known.input_size[1]
    sized = {"img_size": size_px} if known.fixed_input_size else {}
    try:
        fresh: Any = timm.create_model(config.architecture, pretrained=False, **sized)
        overlay = {"state_dict": _with_head_of(fresh, tensors, known.classifier), "label_offset": 0}
        network: Any = timm.create_model(config.architecture, pretrained=True, pretrained_cfg_overlay=overlay, **sized)
    except (RuntimeError, KeyError, AssertionError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WrongInputError(
            f"{config.weights}: not the weights of {config.architecture} at {size_px} px ({reason});"
            " name a file in timm's layout for it"
        ) from error
    num_classes = int(network.num_classes)
    return NetworkScorer(
        network,
        ModelSpec(
            architecture=config.architecture,
            image_size_px=size_px,
            num_classes=num_classes,
            mean=known.mean,
            std=known.std,
        ),
        device,
    )


def _with_head_of(
    network: nn.Module, tensors: Mapping[str, Tensor], classifier: str | tuple[str, ...] | None
) -> dict[str, Tensor]:
    """Return `tensors` with the head of `network` in place of any other, because features do not depend on it.

    Then timm loads the file strictly: each other tensor of the network must be in it.
    """
    names = (classifier,) if isinstance(classifier, str) else classifier or ()
    prefixes = tuple(f"{name}." for name in names)
    kept = {name: value for name, value in tensors.items() if not name.startswith(prefixes)}
    return kept | {name: value for name, value in network.state_dict().items() if name.startswith(prefixes)}
