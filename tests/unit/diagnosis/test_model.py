"""The network: its input, its architectures and its initial weights."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from synfundus.diagnosis.model import ModelSpec, build_annotator, initialise, preprocess, read_weights
from synfundus.errors import WrongInputError


def test_preprocess_normalises_each_channel() -> None:
    pixels = np.zeros((1, 4, 4, 3), np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = 0, 127, 255
    x = preprocess(pixels, 4)
    assert x.shape == (1, 3, 4, 4)
    expected = [(0 - 0.485) / 0.229, (127 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(x[0, :, 2, 1], expected, rtol=1e-6)


def test_preprocess_is_antialiased() -> None:
    """A one-pixel checkerboard becomes its mean; without antialiasing it would stay black and white."""
    board = ((np.indices((64, 64)).sum(axis=0) % 2) * 255).astype(np.uint8)
    x = preprocess(np.repeat(board[None, :, :, None], 3, axis=3), 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    np.testing.assert_allclose(x[..., 1:-1, 1:-1], 0.5, atol=0.01)


def test_a_misspelt_architecture_names_the_nearest() -> None:
    with pytest.raises(WrongInputError, match=r"no 'resnet10tt'; did you mean 'resnet10t'\?"):
        build_annotator("resnet10tt")


@pytest.mark.parametrize(("architecture", "arguments"), [("test_vit", {"img_size": 48}), ("test_resnet", {})])
def test_a_network_of_either_kind_takes_images_of_the_stated_size(architecture: str, arguments: dict[str, int]) -> None:
    spec = ModelSpec.of(architecture, 48)
    assert spec.model_args == arguments
    network = build_annotator(architecture, model_args=spec.model_args).eval()
    assert network(torch.zeros(2, 3, 48, 48)).shape == (2, spec.num_classes)


def test_initial_weights_that_fit_are_used_and_the_others_are_named(tmp_path: Path) -> None:
    source, target = build_annotator("test_resnet", 1000), build_annotator("test_resnet")
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    head = {name: value.clone() for name, value in target.state_dict().items() if name.startswith("fc.")}
    assert sorted(initialise(target, str(tmp_path))) == ["fc.bias", "fc.weight"]
    for name, value in target.state_dict().items():
        torch.testing.assert_close(value, head[name] if name in head else source.state_dict()[name], rtol=0, atol=0)


def test_a_pth_file_with_a_state_dict_is_read(tmp_path: Path) -> None:
    source, target = build_annotator("test_resnet"), build_annotator("test_resnet")
    torch.save({"state_dict": source.state_dict()}, tmp_path / "w.pth")
    assert initialise(target, str(tmp_path / "w.pth")) == []
    torch.testing.assert_close(target.state_dict()["fc.weight"], source.state_dict()["fc.weight"])


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    save_file({"something.else": torch.zeros(3, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(WrongInputError, match=r"no tensor of .* fits this architecture"):
        initialise(build_annotator("test_resnet"), str(tmp_path / "w.safetensors"))


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (open, ("/nonexistent/synfundus",))


def test_no_code_is_unpickled(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(pickle.dumps(_Code()))
    with pytest.raises(WrongInputError, match="cannot read weights"):
        read_weights(str(tmp_path / "w.pth"))


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WrongInputError, match=r"none\.safetensors: no such file"):
        read_weights(str(tmp_path / "none.safetensors"))


def test_a_config_json_without_a_key_is_refused_by_key() -> None:
    with pytest.raises(WrongInputError, match=r"^dr/config\.json: pretrained_cfg: Field required; give a config\.json"):
        ModelSpec.from_timm_json(b'{"architecture": "resnet50", "num_classes": 6}', "dr/config.json")
