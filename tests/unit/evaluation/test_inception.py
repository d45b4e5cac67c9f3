"""Inception features equal torch-fidelity's for the same random weights; other files are refused as weights.

The published weights were not available: every file here holds random weights and is expected by its own digest.
"""

import hashlib
import io
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torch_fidelity
import torch_fidelity.feature_extractor_inceptionv3 as reference
from numpy.typing import NDArray

from synfundus.errors import WrongInputError
from synfundus.evaluation import inception
from synfundus.evaluation.feature_sets import FeatureSet
from synfundus.evaluation.fidelity import fit_gaussian, frechet_distance, kernel_distance
from synfundus.evaluation.inception import Inception, build_inception
from synfundus.evaluation.inception_weights import PUBLISHED_FILE, PUBLISHED_SHA256, read_inception_weights

Images = NDArray[np.uint8]


class _Images(torch.utils.data.Dataset[torch.Tensor]):
    """Images in the form that torch-fidelity reads."""

    def __init__(self, images_BHWC: Images) -> None:
        self.images_BCHW = torch.from_numpy(np.ascontiguousarray(np.moveaxis(images_BHWC, -1, 1)))

    def __len__(self) -> int:
        return len(self.images_BCHW)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images_BCHW[index]


def _images(count: int, height_px: int, width_px: int, seed: int, brightness: float = 1.0) -> Images:
    """Return blocks of colour under noise, which differ in each image and channel even after pooling."""
    rng = np.random.default_rng(seed)
    blocks = rng.uniform(0, 220, (count, 4, 4, 3)) * rng.uniform(0.3, brightness, (count, 1, 1, 3))
    rows, columns = np.arange(height_px) * 4 // height_px, np.arange(width_px) * 4 // width_px
    noisy = blocks[:, rows][:, :, columns] + rng.uniform(0, 35, (count, height_px, width_px, 3))
    return noisy.astype(np.uint8)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a file of random weights that keep the scale of the activations, so that features distinguish images."""
    network_class = reference.FeatureExtractorInceptionV3
    with (
        mock.patch.object(reference, "load_state_dict_from_url", return_value={}),
        mock.patch.object(network_class, "load_state_dict"),
    ):
        network = network_class("random", ["2048"])
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        elif isinstance(module, torch.nn.BatchNorm2d):
            scales, shifts = (module.weight, module.running_var), (module.bias, module.running_mean)
            for tensor in scales:
                assert tensor is not None
                tensor.copy_(torch.empty_like(tensor).uniform_(0.7, 1.4, generator=generator))
            for tensor in shifts:
                assert tensor is not None
                tensor.copy_(torch.empty_like(tensor).normal_(0, 0.1, generator=generator))
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save(network.state_dict(), path)
    yield path
    path.unlink()  # pytest keeps the folders of three runs, and this is 96 MB


@pytest.fixture(scope="module")
def loaded(weights: Path) -> Inception:
    with mock.patch.object(reference, "load_state_dict_from_url", side_effect=AssertionError("a download")):
        return build_inception(read_inception_weights(weights, digest_prefix=_digest(weights)[:8]))


@pytest.fixture(scope="module")
def torch_fidelity_features(weights: Path) -> Callable[[Images], NDArray[np.float32]]:
    """Return the features of torch-fidelity's own extractor, loaded by itself."""
    extractor = reference.FeatureExtractorInceptionV3(
        "reference", ["2048"], feature_extractor_weights_path=str(weights)
    )

    def features(images_BHWC: Images) -> NDArray[np.float32]:
        return np.asarray(extractor(_Images(images_BHWC).images_BCHW)[0].numpy(), np.float32)

    return features


@pytest.mark.parametrize(("height_px", "width_px"), [(32, 32), (310, 402)])
def test_features_equal_torch_fidelity(
    loaded: Inception,
    torch_fidelity_features: Callable[[Images], NDArray[np.float32]],
    monkeypatch: pytest.MonkeyPatch,
    height_px: int,
    width_px: int,
) -> None:
    monkeypatch.setattr(inception, "MICRO_BATCH", 2)
    images = _images(3, height_px, width_px, seed=0)
    found, expected = loaded.features(images), torch_fidelity_features(images)
    assert found.shape == (3, Inception.dim)
    assert found.dtype == np.float32
    between_images = expected.std(axis=0).mean()
    assert between_images > 0.02 * expected.mean()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * between_images)


def test_frechet_and_kernel_distance_equal_those_of_torch_fidelity_for_the_same_images(
    weights: Path, loaded: Inception, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 4
    monkeypatch.setattr(inception, "MICRO_BATCH", n)
    x, y = _images(n, 48, 48, seed=1), _images(n, 48, 48, seed=2, brightness=0.7)
    expected = torch_fidelity.calculate_metrics(
        input1=_Images(x),
        input2=_Images(y),
        fid=True,
        kid=True,
        kid_subsets=1,
        kid_subset_size=n,
        feature_extractor_weights_path=str(weights),
        batch_size=n,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    f, g = loaded.features(x), loaded.features(y)
    frechet = frechet_distance(fit_gaussian(f), fit_gaussian(g))
    assert frechet == pytest.approx(expected["frechet_inception_distance"], rel=1e-3)
    assert kernel_distance(*map(FeatureSet.of_independent, (f, g))) == pytest.approx(
        expected["kernel_inception_distance_mean"], rel=1e-3
    )


def test_features_of_an_image_do_not_depend_on_its_neighbours(
    loaded: Inception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features are bit-equal. Some machines give equal results at two shapes, so the test also checks the shapes."""
    monkeypatch.setattr(inception, "MICRO_BATCH", 2)
    shapes = []
    hook = loaded._network.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
    images = _images(3, 40, 40, seed=3)
    whole = loaded.features(images)
    np.testing.assert_array_equal(loaded.features(images[::-1]), whole[::-1])
    np.testing.assert_array_equal(loaded.features(images[1:2]), whole[1:2])
    hook.remove()
    assert shapes == [(2, 3, 40, 40)] * 5


def test_no_images_give_no_features(loaded: Inception) -> None:
    assert loaded.features(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0, Inception.dim)


def test_published_digest_is_the_one_in_the_published_name() -> None:
    assert len(PUBLISHED_SHA256) == 64
    assert PUBLISHED_FILE.removesuffix(".pth").endswith(f"-{PUBLISHED_SHA256[:8]}")


def _refusal(path: Path) -> str:
    """Return the one-line message that refuses a file; it names key, file and remedy."""
    with pytest.raises(WrongInputError) as refused:
        read_inception_weights(path)
    line = str(refused.value)
    assert "\n" not in line
    assert line.startswith(f"evaluation.inception_weights: {path} ")
    assert PUBLISHED_FILE in line
    return line


def test_missing_file_or_folder_is_refused(tmp_path: Path) -> None:
    assert "No such file" in _refusal(tmp_path / "absent.pth")
    assert "directory" in _refusal(tmp_path)


def test_weights_of_another_digest_are_refused_before_they_are_read(weights: Path) -> None:
    with mock.patch.object(torch, "load") as load:
        line = _refusal(weights)
    assert _digest(weights)[:16] in line
    assert PUBLISHED_SHA256[:16] in line
    load.assert_not_called()


def _saved(content: object, **arguments: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **arguments)
    return stream.getvalue()


TENSOR = torch.zeros(3)
GARBAGE = {
    "empty": b"",
    "text": b"<html>404 Not Found</html>\n",
    "noise": np.random.default_rng(0).bytes(4096),
    "cut": _saved({"fc.weight": TENSOR})[:200],
}
OTHER_TENSORS = {
    "foreign names": _saved({"backbone.weight": TENSOR}),
    "one known name, another shape": _saved({"fc.weight": TENSOR}),
    "list": _saved([TENSOR]),
    "number": _saved(7),
}


@pytest.mark.parametrize("kind", [*GARBAGE, *OTHER_TENSORS])
def test_file_that_does_not_hold_this_network_is_refused(tmp_path: Path, kind: str) -> None:
    """The digest does not match. If it did, the check of the content would refuse the file."""
    path = tmp_path / "weights.pth"
    path.write_bytes((GARBAGE | OTHER_TENSORS)[kind])
    assert "has SHA-256" in _refusal(path)
    reason = "holds no tensors" if kind in GARBAGE else "holds other tensors"
    with pytest.raises(WrongInputError, match=f"^evaluation.inception_weights: the file {reason}.*{PUBLISHED_FILE}"):
        build_inception(path.read_bytes())


class _Trap:
    """Object that writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_code_in_a_file_is_not_run_even_if_its_digest_is_expected(tmp_path: Path, form: str) -> None:
    path, marker = tmp_path / "weights.pth", tmp_path / "executed"
    trap = {"fc.weight": _Trap(marker)}
    path.write_bytes(
        pickle.dumps(trap, protocol=2)  # the protocol that torch reads
        if form == "pickle"
        else _saved(trap, _use_new_zipfile_serialization=form == "zip")
    )
    assert "has SHA-256" in _refusal(path)
    with pytest.raises(WrongInputError, match="holds no tensors"):
        build_inception(path.read_bytes())
    assert not marker.exists()
    if form == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert marker.exists(), "the trap itself does not work"


def test_weights_in_the_format_before_zip_are_read(weights: Path, loaded: Inception, tmp_path: Path) -> None:
    """The published file of 2020 has that format."""
    path = tmp_path / "legacy.pth"
    path.write_bytes(_saved(torch.load(weights, weights_only=True), _use_new_zipfile_serialization=False))
    again = build_inception(read_inception_weights(path, digest_prefix=_digest(path)))
    path.unlink()
    for name, tensor in loaded._network.state_dict().items():
        assert torch.equal(again._network.state_dict()[name], tensor), name
