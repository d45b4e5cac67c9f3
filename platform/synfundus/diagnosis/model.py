"""The annotator's network (any timm classifier with one logit per head of `labels.HEAD_NAMES`) and its input.

Shapes: B images, C channels, H, W pixels, V heads (19).
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, Field, JsonValue, ValidationError
from torch import Tensor, nn

from synfundus.diagnosis.manifest import WEIGHTS
from synfundus.errors import WrongInputError
from synfundus.labels import HEAD_NAMES, NUM_VALUES
from synfundus.metadata import Metadata

IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""timm's defaults, repeated here because timm takes seconds to import."""


class _TimmInput(BaseModel):
    """Input settings in timm's `config.json`."""

    input_size: tuple[int, int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class _TimmConfig(BaseModel):
    """Keys of timm's `config.json` that we read."""

    architecture: str
    num_classes: int
    pretrained_cfg: _TimmInput
    model_args: dict[str, JsonValue] = Field(default_factory=dict)


class ModelSpec(Metadata):
    """Architecture and input of a network; stored in timm's `config.json`."""

    architecture: str
    """Model name in timm's registry."""
    image_size_px: int
    """Height and width of the input."""
    num_classes: int = NUM_VALUES
    """Number of outputs; an external model may have others than our heads."""
    mean: tuple[float, float, float] = IMAGENET_DEFAULT_MEAN
    """Mean of each channel, for pixels in [0, 1]."""
    std: tuple[float, float, float] = IMAGENET_DEFAULT_STD
    """Standard deviation of each channel, for pixels in [0, 1]."""
    model_args: dict[str, JsonValue] = Field(default_factory=dict)
    """Keyword arguments of timm's `create_model`, as `config.json` has them."""

    @classmethod
    def of(cls, architecture: str, image_size_px: int) -> "ModelSpec":
        """Return the spec of a network with our heads for images of this size.

        A vision transformer is built for one size, which timm's argument `img_size` gives. A convolutional network
        accepts any.

        Raises:
            WrongInputError: timm has no such architecture.
        """
        import timm

        require_architecture(architecture)
        known = timm.get_pretrained_cfg(architecture)
        arguments: dict[str, JsonValue] = {"img_size": image_size_px} if known and known.fixed_input_size else {}
        return cls(architecture=architecture, image_size_px=image_size_px, model_args=arguments)

    def timm_config(self, network: nn.Module) -> dict[str, JsonValue]:
        """Return `config.json` as `timm.create_model("local-dir:…")` reads it."""
        known: Any = network.pretrained_cfg
        config: dict[str, JsonValue] = {
            "architecture": self.architecture,
            "num_classes": self.num_classes,
            "model_args": self.model_args,
            "num_features": int(network.num_features),  # type: ignore[arg-type]
            "pretrained_cfg": {
                "input_size": [3, self.image_size_px, self.image_size_px],
                "fixed_input_size": bool(known.get("fixed_input_size", False)),
                "interpolation": "bilinear",
                "crop_pct": 1.0,
                "mean": list(self.mean),
                "std": list(self.std),
                "num_classes": self.num_classes,
                "pool_size": known.get("pool_size"),
                "first_conv": known.get("first_conv"),
                "classifier": known.get("classifier"),
            },
        }
        if self.num_classes == NUM_VALUES:
            config["label_names"] = list(HEAD_NAMES)
        return config

    @classmethod
    def from_timm_json(cls, data: bytes, name: str) -> "ModelSpec":
        """Parse the content of `name`, a `config.json` of timm.

        Raises:
            WrongInputError: a key is missing or has a wrong type; the message names it.
        """
        try:
            config = _TimmConfig.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(map(str, first["loc"]))
            raise WrongInputError(f"{name}: {key}: {first['msg']}; give a config.json that timm wrote") from error
        return cls(
            architecture=config.architecture,
            num_classes=config.num_classes,
            image_size_px=config.pretrained_cfg.input_size[1],
            mean=config.pretrained_cfg.mean,
            std=config.pretrained_cfg.std,
            model_args=config.model_args,
        )


def build_annotator(
    architecture: str,
    num_classes: int = NUM_VALUES,
    drop_rate: float = 0.0,
    model_args: Mapping[str, JsonValue] | None = None,
) -> nn.Module:
    """Build an untrained timm classifier. Nothing is downloaded.

    Raises:
        WrongInputError: timm has no such architecture; the message names the nearest one.
    """
    import timm

    require_architecture(architecture)
    network: nn.Module = timm.create_model(
        architecture, pretrained=False, num_classes=num_classes, drop_rate=drop_rate, **(model_args or {})
    )
    return network


def require_architecture(architecture: str, place: str = "architecture") -> None:
    """Refuse a name that timm does not know.

    Args:
        place: place of the name in the study, for the message.

    Raises:
        WrongInputError: timm has no such architecture; the message names the nearest one.
    """
    import timm

    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=1)
        remedy = f"did you mean {close[0]!r}?" if close else "see timm.list_models()"
        raise WrongInputError(f"{place}: timm {timm.__version__} has no {architecture!r}; {remedy}")


def preprocess(
    images_BHWC: NDArray[np.uint8] | Tensor,
    image_size_px: int,
    mean: tuple[float, float, float] = IMAGENET_DEFAULT_MEAN,
    std: tuple[float, float, float] = IMAGENET_DEFAULT_STD,
) -> Tensor:
    """Convert uint8 images (B, H, W, 3) to the network's input: float32 (B, 3, S, S), resized and normalised.

    A tensor stays on its device; an array becomes a tensor on the CPU.
    """
    x_BHWC = torch.as_tensor(images_BHWC)
    x_BCHW = x_BHWC.permute(0, 3, 1, 2).float().div(255.0)
    if x_BCHW.shape[2:] != (image_size_px, image_size_px):
        x_BCHW = F.interpolate(
            x_BCHW, size=(image_size_px, image_size_px), mode="bilinear", antialias=True, align_corners=False
        )
    shape = (1, 3, 1, 1)
    x_BCHW = (x_BCHW - x_BCHW.new_tensor(mean).view(shape)) / x_BCHW.new_tensor(std).view(shape)
    return x_BCHW.contiguous(memory_format=torch.channels_last)


def read_weights(source: str) -> dict[str, Tensor]:
    """Read the tensors of a folder in our layout, or of a .safetensors or .pth file. No code is unpickled.

    Raises:
        WrongInputError: there is no such file, or it holds anything but tensors.
    """
    from timm.models import load_state_dict

    path = Path(source).expanduser()
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise WrongInputError(
            f"{file}: no such file of weights; name a folder with {WEIGHTS}, or a .safetensors or .pth file"
        )
    try:
        tensors = load_state_dict(str(file), weights_only=True)
        return {str(name): value for name, value in tensors.items() if isinstance(value, Tensor)}
    except Exception as error:  # torch, pickle, zipfile and safetensors each raise errors of their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WrongInputError(
            f"{file}: cannot read weights ({reason}); give a file of tensors only, best as safetensors"
        ) from error


def initialise(network: nn.Module, source: str) -> list[str]:
    """Load the tensors of `source` that fit by name and shape into `network`; mostly the head does not fit.

    Returns:
        Names of the network's tensors that keep their random initialisation.

    Raises:
        WrongInputError: no tensor fits.
    """
    return load_fitting(network, read_weights(source), f"init_from: no tensor of {source}")


def load_fitting(network: nn.Module, tensors: Mapping[str, Tensor], complaint: str) -> list[str]:
    """Load the tensors that fit by name and shape into `network`.

    Args:
        complaint: beginning of the message if no tensor fits.

    Returns:
        Names of the network's tensors that keep their values.

    Raises:
        WrongInputError: no tensor fits.
    """
    own = network.state_dict()
    fitting = {name: value for name, value in tensors.items() if name in own and own[name].shape == value.shape}
    if not any(value.ndim > 1 for value in fitting.values()):
        raise WrongInputError(f"{complaint} fits this architecture; name weights of the same architecture")
    network.load_state_dict(fitting, strict=False)
    return [name for name in own if name not in fitting]
