"""The comparison of generated images with the training photographs, by the rule of the stage `sample`."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from synfundus.copies.detector import load_copy_detector
from synfundus.copies.reference import read_reference
from synfundus.measures.nearest import nearest
from synfundus.storage import Storage


class CopyCheck:
    """The study's copy detector with the descriptors of all training photographs, in a thread of its own."""

    def __init__(self, storage: Storage, folder: str, device: torch.device, num_threads: int) -> None:
        self._detector = load_copy_detector(storage, folder, device)
        self._reference = read_reference(storage, folder).on(device)
        self._thread = ThreadPoolExecutor(1, "copies", torch.set_num_threads, (num_threads,))

    async def is_copy(self, images_NHWC: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return which images have a distance ratio below the detector's threshold, (N,)."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._compare, images_NHWC)

    def _compare(self, images_NHWC: NDArray[np.uint8]) -> NDArray[np.bool_]:
        ratio_N = nearest(self._detector.descriptors(images_NHWC), self._reference).ratio
        return np.asarray(ratio_N < self._detector.threshold)
