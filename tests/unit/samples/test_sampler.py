"""A worker annotates and checks the image that its file decodes to, which is the image that is released."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from support.datasets_of_phantoms import phantom_dataset
from support.models_of_phantoms import train_tiny_models
from support.samples_example import SIZE_PX, example_plan
from synfundus.diagnosis import checkpoint
from synfundus.diagnosis.annotator import Annotator, AnnotatorOutput
from synfundus.fundus.shard import decode_pixels
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_record
from synfundus.samples.config import ImageFormat
from synfundus.samples.sampler import SamplingTask, ShardSampler, _Batch
from synfundus.samples.verify import copy_reference
from synfundus.storage import Storage, open_storage

NUM_IMAGES = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Return a root with tiny models."""
    storage = open_storage(str(tmp_path_factory.mktemp("root")))
    phantom_dataset(storage, "data/p", 40, SIZE_PX)
    train_tiny_models(storage, "data/p", "p")
    return storage


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    """Return phantoms in place of images of the generator, with noise that JPEG does not keep."""
    config = PhantomConfig(num_images=NUM_IMAGES, size_px=SIZE_PX, seed=9)
    images = np.stack([phantom_record(config, i).image_HWC for i in range(NUM_IMAGES)])
    noise = np.random.default_rng(0).integers(0, 80, images.shape)
    return (images // 2 + noise).astype(np.uint8)


class WatchedAnnotator(Annotator):
    """Notes the images that it annotates, because so small a model predicts the same of similar images."""

    annotated: NDArray[np.uint8]

    def predict(self, images_BHWC: NDArray[np.uint8], image_ids: Sequence[str] | None = None) -> AnnotatorOutput:
        self.annotated = images_BHWC
        return super().predict(images_BHWC, image_ids)


def finish(
    root: Storage, image_format: ImageFormat, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> tuple[ShardSampler, _Batch]:
    """Return a worker and what it makes of a micro-batch."""
    plan = example_plan()
    plan = plan.model_copy(update={"config": plan.config.model_copy(update={"image_format": image_format})})
    task = SamplingTask(root, "samples/p", "generators/p", "annotators/p", "copy_detectors/p", plan)
    monkeypatch.setattr(checkpoint, "Annotator", WatchedAnnotator)
    sampler = ShardSampler(task, copy_reference(root, "copy_detectors/p"))
    ids = list(range(NUM_IMAGES))
    return sampler, sampler._finish(ids, [{}] * NUM_IMAGES, ids, pixels)


@pytest.mark.parametrize("image_format", ["png", "webp", "jpeg"])
def test_the_released_image_is_annotated_and_searched_for_copies(
    root: Storage, pixels: NDArray[np.uint8], image_format: ImageFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`evaluate` reads the file again, and must find the distance ratio by which the sample was accepted."""
    sampler, batch = finish(root, image_format, pixels, monkeypatch)
    released = np.stack([decode_pixels(sample.image) for sample in batch.samples])
    assert np.array_equal(released, pixels) == (image_format != "jpeg")
    assert np.array_equal(batch.descriptors_BD, sampler.detector.descriptors(released))
    assert isinstance(sampler.annotator, WatchedAnnotator)
    assert np.array_equal(sampler.annotator.annotated, released)
