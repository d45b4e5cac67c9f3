"""Initial weights from ImageNet: the network classifies photographs of everyday things, and keeps all but its head."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import sklearn.datasets
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.data import ImageNetInfo

from support.imagenet_weights import ARCHITECTURE, IMAGE_SIZE_PX, MEAN, STD, write_imagenet_weights
from synfundus.diagnosis.model import build_annotator, initialise, preprocess

PHOTOGRAPHS = {
    Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg": "military uniform",
    Path(sklearn.datasets.__file__).parent / "images" / "china.jpg": "palace",
}
"""Photograph that a package of the tests ships (public domain; CC BY), and its class. The second is a tower of the
Summer Palace."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of ImageNet weights that timm loads."""
    file = tmp_path_factory.mktemp("weights") / "imagenet.safetensors"
    write_imagenet_weights(file)
    return file


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=lambda path: path.stem)
def test_the_network_classifies_a_photograph(weights: Path, photograph: Path) -> None:
    network = build_annotator(ARCHITECTURE, num_classes=1000)
    assert initialise(network, str(weights)) == [], "every tensor comes from the file"
    with Image.open(photograph) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        pixels_BHWC = np.array(image.convert("RGB").crop((left, top, left + side, top + side)))[None]
    with torch.inference_mode():
        logits_BV = network.eval()(preprocess(pixels_BHWC, IMAGE_SIZE_PX, MEAN, STD))
    best = ImageNetInfo("imagenet-1k").index_to_description(int(logits_BV.argmax()))
    assert best == PHOTOGRAPHS[photograph]


def test_an_annotator_takes_all_of_the_weights_but_the_head(weights: Path) -> None:
    annotator = build_annotator(ARCHITECTURE)
    assert initialise(annotator, str(weights)) == ["classifier.weight", "classifier.bias"]
    tensors, own = load_file(weights), annotator.state_dict()
    for name in set(own) - {"classifier.weight", "classifier.bias"}:
        assert torch.equal(own[name], tensors[name]), name
