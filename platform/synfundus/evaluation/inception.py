"""The Inception feature space: pool3 of the 2015-12-05 TensorFlow Inception, in torch-fidelity's version.

Network, resize and value range are torch-fidelity's own code, so distances in this space agree with what it prints.
Only the loading differs, because its extractor downloads weights or unpickles a file, which may run foreign code.
"""

import io
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synfundus.errors import WrongInputError
from synfundus.evaluation.inception_weights import KEY, REMEDY

MICRO_BATCH = 8
"""Images of every forward pass. At a fixed shape, the result of a row does not depend on the other rows."""


class Inception:
    """The network up to its classifier, in float32 and evaluation mode."""

    dim = 2048

    def __init__(self, network: Any, device: torch.device | str = "cpu") -> None:
        """Wrap torch-fidelity's extractor, built for its feature "2048" alone."""
        self.device = torch.device(device)
        self._network = network.to(self.device)

    def features(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features (B, 2048) of RGB images of one size, which may be any size.

        The network resizes to 299 x 299 as TensorFlow 1 does (bilinear, corners not aligned, no antialiasing) and
        takes values as (x - 128) / 128. Black images fill the last micro-batch.
        """
        rows_BD = np.empty((len(images_BHWC), self.dim), np.float32)
        for start in range(0, len(images_BHWC), MICRO_BATCH):
            part_BHWC = images_BHWC[start : start + MICRO_BATCH]
            full_BHWC = np.zeros((MICRO_BATCH, *images_BHWC.shape[1:]), images_BHWC.dtype)
            full_BHWC[: len(part_BHWC)] = part_BHWC
            with torch.inference_mode():
                x_BCHW = torch.from_numpy(full_BHWC).to(self.device).permute(0, 3, 1, 2).contiguous()
                (features_BD,) = self._network(x_BCHW)
            rows_BD[start : start + len(part_BHWC)] = features_BD[: len(part_BHWC)].cpu().numpy()
        return rows_BD


def build_inception(content: bytes, device: torch.device | str = "cpu") -> Inception:
    """Return the network with the weights of a verified file (`read_inception_weights`).

    Raises:
        WrongInputError: the content is not a file of tensors, or holds those of another network.
    """
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises about ten types on bytes that it cannot read, among them AssertionError
        raise WrongInputError(f"{KEY}: the file holds no tensors; {REMEDY}") from error
    try:
        network = _network(state)
    except (RuntimeError, TypeError) as error:
        raise WrongInputError(f"{KEY}: the file holds other tensors than this Inception's; {REMEDY}") from error
    return Inception(network, device)


def _network(state: dict[str, torch.Tensor]) -> Any:
    """Return torch-fidelity's extractor with these weights.

    Its constructor downloads weights or unpickles a file. Here it gets a stream that is written from tensors that are
    already checked, so it neither downloads nor unpickles anything foreign.
    """
    # Imported here because it takes seconds, and studies without Inception do not need it.
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return FeatureExtractorInceptionV3("inception", [str(Inception.dim)], feature_extractor_weights_path=stream)
