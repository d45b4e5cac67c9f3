"""The Inception feature space: pool3 of the 2015-12-05 TensorFlow Inception, as torch-fidelity takes it.

Network, resize and value range are torch-fidelity's own, so distances in this space agree with what it prints. Only
the loading is ours: its extractor downloads weights or unpickles them, which may run code of whoever made the file.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synfundus.errors import WrongInputError

KEY = "evaluation.inception_weights"
PUBLISHED_FILE = "weights-inception-2015-12-05-6726825d.pth"
PUBLISHED_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""SHA-256 of `PUBLISHED_FILE`. Its name carries the first eight digits, as torch hub's names do; torch-fidelity states
no more. All 64 are as several public projects that pin this file state them; the file itself was not at hand."""
REMEDY = f"name {PUBLISHED_FILE} of torch-fidelity's release v0.2.0, or leave the key out to do without Inception"
MICRO_BATCH = 8
"""Images a forward pass, always: at a fixed shape a row's result does not depend on its neighbours."""


class Inception:
    """Images in, features before the classifier out; in float32 and evaluation mode."""

    dim = 2048

    def __init__(self, network: Any, device: torch.device | str = "cpu") -> None:
        """`network`: torch-fidelity's extractor, asked for its feature "2048" alone."""
        self.device = torch.device(device)
        self._network = network.to(self.device)

    def features(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features (B, 2048) of RGB images of one size, whichever it is.

        The network resizes to 299 x 299 as TensorFlow 1 does (bilinear, corners not aligned, no antialiasing) and
        takes values as (x - 128) / 128. The last micro-batch is filled up with black images.
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


def load_inception(
    path: str | Path, *, digest_prefix: str = PUBLISHED_SHA256, device: torch.device | str = "cpu"
) -> Inception:
    """The network with the weights of a file that the user named.

    Args:
        path: The file; nothing is ever downloaded.
        digest_prefix: What the file's SHA-256 must begin with in hexadecimal; by default all of the published one.
        device: Where the network runs.

    Raises:
        WrongInputError: The file is missing, is not the one asked for, or does not hold this network's tensors.
    """
    content = _verified(path, digest_prefix)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises some ten types on bytes that it cannot read, AssertionError among them
        raise WrongInputError(f"{KEY}: {path} is no file of tensors; {REMEDY}") from error
    try:
        network = _network(state)
    except (RuntimeError, TypeError) as error:
        raise WrongInputError(f"{KEY}: {path} holds other tensors than this Inception's; {REMEDY}") from error
    return Inception(network, device)


def _verified(path: str | Path, digest_prefix: str) -> bytes:
    """The file's bytes, once their digest is the one asked for."""
    try:
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # before it is read whole: it may be any file
            file.seek(0)
            content = file.read() if digest.startswith(digest_prefix.lower()) else None
    except OSError as error:
        raise WrongInputError(f"{KEY}: {path} cannot be read ({error.strerror}); {REMEDY}") from error
    if content is None:
        found, wanted = digest[:16], digest_prefix[:16]
        raise WrongInputError(f"{KEY}: {path} has SHA-256 {found}..., expected {wanted}...; {REMEDY}")
    return content


def _network(state: dict[str, torch.Tensor]) -> Any:
    """Torch-fidelity's extractor with these weights.

    Its constructor always loads, from the net or by unpickling. It is handed a stream that was written here, from
    tensors that are already checked, so neither happens to anything of somebody else's.
    """
    # Imported here: it takes seconds, and studies without Inception need none of it.
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return FeatureExtractorInceptionV3("inception", [str(Inception.dim)], feature_extractor_weights_path=stream)
