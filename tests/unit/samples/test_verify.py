"""A sample is rejected for each reason, alone, and for nothing else."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from support.copies_example import untrained_encoder
from support.datasets_of_phantoms import phantom_dataset
from support.models_of_phantoms import train_copy_detector
from synfundus.copies.detector import load_copy_detector
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import PreparedImages
from synfundus.measures.nearest import reference_on
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_record
from synfundus.samples.rejection import SampleRejectionReason
from synfundus.samples.verify import check_copies, check_files, copy_reference, decode_files
from synfundus.storage import Storage

SIZE_PX = 32


def phantoms(count: int, seed: int) -> NDArray[np.uint8]:
    config = PhantomConfig(num_images=count, size_px=SIZE_PX, seed=seed)
    return np.stack([phantom_record(config, i).image_HWC for i in range(count)])


def png(image_HWC: NDArray[np.uint8]) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(image_HWC).save(sink, "PNG")
    return sink.getvalue()


TRAINING = phantoms(8, 1)
ENCODER = untrained_encoder(SIZE_PX)
REFERENCE = reference_on(ENCODER.descriptors(TRAINING), np.arange(8), "cpu")


def rejected(images: NDArray[np.uint8], encoded: list[bytes] | None = None) -> dict[int, SampleRejectionReason]:
    ids = list(range(100, 100 + len(images)))
    rejections = check_files(ids, decode_files(encoded or [png(image) for image in images], images.shape[1:]))
    sound = [row for row, sample_id in enumerate(ids) if sample_id not in {item.sample_id for item in rejections}]
    rejections += check_copies([ids[row] for row in sound], ENCODER.descriptors(images[sound]), REFERENCE, 1e-3)
    return {rejection.sample_id: rejection.reason for rejection in rejections}


def test_a_sound_sample_is_accepted() -> None:
    assert rejected(phantoms(6, 2)) == {}


def test_a_uniform_image_of_any_colour_is_blank() -> None:
    images = phantoms(3, 2)
    images[1] = (180, 80, 40)
    assert rejected(images) == {101: SampleRejectionReason.BLANK}


def test_a_file_that_does_not_decode_or_has_another_size_is_undecodable() -> None:
    images = phantoms(3, 2)
    encoded = [png(image) for image in images]
    encoded[0] = encoded[0][:60]
    encoded[2] = png(images[2][:16, :16])
    assert rejected(images, encoded) == dict.fromkeys((100, 102), SampleRejectionReason.UNDECODABLE)


def test_a_copy_of_a_training_image_and_its_mirror_image_are_too_near() -> None:
    images = phantoms(4, 2)
    images[1], images[3] = TRAINING[5], TRAINING[2][:, ::-1]
    assert rejected(images) == dict.fromkeys((101, 103), SampleRejectionReason.NEAR_TRAINING_IMAGE)


def test_the_reference_is_the_detectors_training_images_and_threshold(storage: Storage) -> None:
    phantom_dataset(storage, "data/p", 40, SIZE_PX)
    train_copy_detector(storage, "data/p", "copy_detectors/p")
    reference = copy_reference(storage, "copy_detectors/p")
    detector = load_copy_detector(storage, "copy_detectors/p")
    pixels = np.concatenate([batch.images_BHWC for batch in PreparedImages(storage, "data/p").batches("train")])
    np.testing.assert_allclose(reference.training.descriptors_ND, detector.descriptors(pixels), atol=1e-6)
    assert reference.calibration.threshold == detector.threshold > 0


def test_a_missing_detector_is_named(storage: Storage) -> None:
    with pytest.raises(WrongInputError, match="copy_detectors/p is not complete"):
        copy_reference(storage, "copy_detectors/p")
