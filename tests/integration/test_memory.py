"""Peak memory of a stage does not grow with the number of images or samples.

Each stage runs in a new process without Ray, within seconds, for few and for many images. The benchmark
tests/benchmarks/memory_growth.py measures the same with Ray for 1,000 and 20,000 images.
"""

import pytest

from support.memory_of_stages import STAGES, peak_mib, write_noise_images
from support.models_of_phantoms import train_tiny_models
from support.new_process import new_processes
from synfundus.storage import open_storage

FEW = 512
MANY_IMAGES, MANY_SAMPLES = 8192, 4096
ALLOWED_MIB = 12.0
"""Largest allowed growth, far below what all images (24 MiB of pixels) or samples (40 MiB of rows) take in memory."""
MAX_PAIRS = 3
"""Pairs of runs. A peak varies by up to 14 MiB from run to run; a real growth is in every pair."""


def _in_new_process(stage: str, root: str, folder: str, number: int) -> float:
    with new_processes() as pool:
        return pool.submit(peak_mib, stage, root, folder, number).result()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root with few and with many images, and both models."""
    path = str(tmp_path_factory.mktemp("memory"))
    storage = open_storage(path)
    write_noise_images(storage, "data/few", FEW)
    write_noise_images(storage, "data/many", MANY_IMAGES)
    train_tiny_models(storage, "data/few", "p")
    return path


@pytest.mark.parametrize("stage", STAGES)
def test_memory_does_not_grow_with_the_number_of_images_or_samples(stage: str, root: str) -> None:
    number = MANY_SAMPLES if stage == "sample" else MANY_IMAGES
    pairs = []
    for _ in range(MAX_PAIRS):
        few = _in_new_process(stage, root, "data/few", FEW)
        pairs.append((few, _in_new_process(stage, root, "data/many", number)))
        if pairs[-1][1] - few < ALLOWED_MIB:
            return
    pytest.fail(f"peaks in MiB for {FEW} and for {number}: {pairs}")
