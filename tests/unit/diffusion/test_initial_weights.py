"""Initial weights of the generator from `init_from`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from support.origin_example import only, release_origin
from support.spots import changed, learner_of
from synfundus.errors import WrongInputError
from synfundus.storage import open_storage

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    """Folder of a U-Net saved by diffusers, and its tensors."""
    network: Any = learner_of(changed(seed=5), perturb=True).network
    network.save_pretrained(tmp_path / "generator" / "unet")
    return tmp_path / "generator", network.state_dict()


@pytest.mark.parametrize("below", ["", "unet", "unet/diffusion_pytorch_model.safetensors"])
def test_training_starts_from_the_weights_of_a_directory_or_file(
    weights: tuple[Path, dict[str, Tensor]], below: str
) -> None:
    folder, tensors = weights
    learner = learner_of(changed(init_from=str(folder / below)))
    for network in (learner.network, learner.ema_network):
        assert all(torch.equal(value, tensors[name]) for name, value in network.state_dict().items())
    assert not torch.equal(tensors["conv_in.weight"], learner_of().network.get_parameter("conv_in.weight"))


def test_initial_weights_count_as_another_source_than_a_release(
    weights: tuple[Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    folder, _ = weights
    for number, (init_from, is_only) in enumerate([(None, True), (str(folder), False)]):
        learner, storage = learner_of(changed(init_from=init_from)), open_storage(str(tmp_path / f"root-{number}"))
        manifest = learner.save(storage, "generators/g", (), "digest", only(release_origin()))
        assert manifest.origin.releases == (release_origin(),)
        assert manifest.origin.only_releases == is_only


def _drop(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if name != "conv_in.bias"}


def _reshape(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {"conv_in.bias": torch.zeros(9)}


def _add(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {"stranger": torch.zeros(1)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop, "no tensor conv_in.bias; give weights of a U-Net with the same settings"),
        (_reshape, r"conv_in.bias has shape \(9,\), expected \(8,\); give"),
        (_add, "tensor stranger is not in the U-Net; give"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_tensor(
    tmp_path: Path,
    weights: tuple[Path, dict[str, Tensor]],
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    message: str,
) -> None:
    file = tmp_path / "other.safetensors"
    save_file({name: value.contiguous() for name, value in change(dict(weights[1])).items()}, file)
    with pytest.raises(WrongInputError, match=message) as raised:
        learner_of(changed(init_from=str(file)))
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_weights_that_are_missing_or_no_safetensors_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no such format")
    torch.save({"conv_in.bias": torch.zeros(8)}, tmp_path / "pickled.safetensors")
    for path, message in (
        (tmp_path / "nowhere", r"init_from: no weights at .*nowhere \(looked for .*unet/diffusion_pytorch_model"),
        (tmp_path / "nothing.safetensors", "init_from: no weights at"),
        (broken, "init_from: cannot read .*broken.safetensors as safetensors"),
        (tmp_path / "pickled.safetensors", "init_from: cannot read .*pickled.safetensors as safetensors"),
    ):
        with pytest.raises(WrongInputError, match=message) as raised:
            learner_of(changed(init_from=str(path)))
        assert "\n" not in str(raised.value)
