"""Encoders by named file: features equal timm's, and wrong files are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from synfundus.diagnosis.model import preprocess
from synfundus.errors import WrongInputError
from synfundus.evaluation.config import EncoderConfig, EvaluationConfig
from synfundus.evaluation.encoders import build_encoder

IMAGES_BHWC = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 3)).astype(np.uint8)


def weights(path: Path, architecture: str, **arguments: object) -> Any:
    """Write random weights of an architecture, and return the network."""
    torch.manual_seed(3)
    network: Any = timm.create_model(architecture, pretrained=False, **arguments).eval()
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.05 * torch.randn(value.shape))
    save_file(network.state_dict(), path)
    return network


@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit"])
@pytest.mark.parametrize("num_classes", [1000, 19, 0])
def test_features_are_those_before_timms_head_whatever_the_head(
    tmp_path: Path, architecture: str, num_classes: int
) -> None:
    file = tmp_path / "encoder.safetensors"
    network = weights(file, architecture, num_classes=num_classes)
    encoder = build_encoder(EncoderConfig(architecture=architecture, weights=str(file)))
    known: Any = timm.get_pretrained_cfg(architecture)
    x_BCHW = preprocess(IMAGES_BHWC, known.input_size[1], known.mean, known.std)
    with torch.inference_mode():
        expected = network.forward_head(network.forward_features(x_BCHW), pre_logits=True)
    np.testing.assert_allclose(encoder.features(IMAGES_BHWC), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_transformers_position_embeddings_are_fitted_to_the_image_size(tmp_path: Path) -> None:
    file = tmp_path / "vit.safetensors"
    weights(file, "test_vit")
    usual, small = (
        build_encoder(EncoderConfig(architecture="test_vit", weights=str(file), image_size_px=size))
        for size in (None, 96)
    )
    assert small.spec.image_size_px == 96
    assert usual.features(IMAGES_BHWC).shape == small.features(IMAGES_BHWC).shape
    num_positions = [network.state_dict()["pos_embed"].shape[1] for network in (usual.network, small.network)]
    assert num_positions[1] < num_positions[0]


def test_a_file_without_a_tensor_of_the_network_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "part.safetensors"
    tensors = weights(file, "test_resnet").state_dict()
    missing = next(name for name, value in tensors.items() if value.ndim == 4)
    save_file({name: value for name, value in tensors.items() if name != missing}, file)
    with pytest.raises(WrongInputError, match=f"not the weights of test_resnet .*{missing}") as caught:
        build_encoder(EncoderConfig(architecture="test_resnet", weights=str(file)))
    assert "\n" not in str(caught.value)


def test_weights_of_another_architecture_and_unknown_names_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "encoder.safetensors"
    weights(file, "test_resnet")
    with pytest.raises(WrongInputError, match="not the weights of test_vit at "):
        build_encoder(EncoderConfig(architecture="test_vit", weights=str(file)))
    with pytest.raises(WrongInputError, match="has no 'test_resnets'; did you mean 'test_resnet'"):
        build_encoder(EncoderConfig(architecture="test_resnets", weights=str(file)))
    with pytest.raises(WrongInputError, match="no such file of weights"):
        build_encoder(EncoderConfig(architecture="test_resnet", weights=str(tmp_path / "none.safetensors")))


@pytest.mark.parametrize("name", ["judge", "annotator", "inception", "Upper case"])
def test_the_name_of_an_encoder_is_not_that_of_another_space(name: str) -> None:
    with pytest.raises(ValidationError):
        EvaluationConfig.model_validate({"encoders": {name: {"architecture": "test_vit", "weights": "w.safetensors"}}})
