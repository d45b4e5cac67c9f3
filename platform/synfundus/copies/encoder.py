"""The trained encoder: from images to copy descriptors."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synfundus.copies.network import CODE_DIM, CopyNetwork, fine_structure, resized, to_grey
from synfundus.labels import FloatArray

MAX_BATCH = 256
"""Images that the network reads at once."""
DESCRIPTOR_DIM = 2 * CODE_DIM


class CopyEncoder:
    """A trained network on a device."""

    def __init__(self, network: CopyNetwork, image_size_px: int, device: torch.device | str = "cpu") -> None:
        self.device, self.image_size_px = torch.device(device), image_size_px
        self._network = network.to(self.device).to(memory_format=torch.channels_last).eval()

    def descriptors(self, images_BHWC: NDArray[np.uint8]) -> FloatArray:
        """Return unit vectors, float32 (B, 128), of uint8 images of any size.

        The first half stays as it is when the image is mirrored; the second half changes its sign. So the product of
        two descriptors is the mean similarity of both images and of both mirror images.
        """
        parts = [np.zeros((0, DESCRIPTOR_DIM), np.float32)]
        for start in range(0, len(images_BHWC), MAX_BATCH):
            parts.append(self._describe(torch.from_numpy(images_BHWC[start : start + MAX_BATCH])).cpu().numpy())
        return np.concatenate(parts)

    @torch.inference_mode()
    def _describe(self, images_BHWC: Tensor) -> Tensor:
        x_B1SS = fine_structure(to_grey(resized(images_BHWC.to(self.device), self.image_size_px)))
        # cuDNN's default, TF32, moved descriptors by 1e-4 on an H100, and one of 661 decisions.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            code_BD, mirrored_BD = self._network(x_B1SS), self._network(x_B1SS.flip(3))
        return torch.cat([code_BD + mirrored_BD, code_BD - mirrored_BD], 1) / 2.0
