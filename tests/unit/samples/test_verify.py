"""What a sample must pass: each reason is found, alone, and nothing else is."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synfundus.measures.copies import copy_descriptor
from synfundus.phantom.render import PhantomConfig, phantom_record
from synfundus.samples.verify import CopyReference, Reason, check_samples

SIZE_PX = 32


def phantoms(count: int, seed: int) -> NDArray[np.uint8]:
    config = PhantomConfig(num_images=count, size_px=SIZE_PX, seed=seed)
    return np.stack([phantom_record(config, i).image_HWC for i in range(count)])


def png(image_HWC: NDArray[np.uint8]) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(image_HWC).save(sink, "PNG")
    return sink.getvalue()


TRAINING = phantoms(8, 1)
REFERENCE = CopyReference(copy_descriptor(TRAINING), threshold=0.05)


def rejected(images: NDArray[np.uint8], encoded: list[bytes] | None = None) -> dict[int, Reason]:
    ids = list(range(100, 100 + len(images)))
    found = check_samples(ids, encoded or [png(image) for image in images], images, REFERENCE)
    return {rejection.sample_id: rejection.reason for rejection in found}


def test_a_sound_sample_passes() -> None:
    assert rejected(phantoms(6, 2)) == {}


def test_a_uniform_picture_is_blank_whatever_its_colour() -> None:
    images = phantoms(3, 2)
    images[1] = (180, 80, 40)
    assert rejected(images) == {101: Reason.BLANK}


def test_bytes_that_do_not_decode_or_to_another_size_are_undecodable() -> None:
    images = phantoms(3, 2)
    encoded = [png(image) for image in images]
    encoded[0] = encoded[0][:60]
    encoded[2] = png(images[2][:16, :16])
    assert rejected(images, encoded) == {100: Reason.UNDECODABLE, 102: Reason.UNDECODABLE}


def test_a_copy_of_a_training_image_and_its_mirror_image_are_too_near() -> None:
    images = phantoms(4, 2)
    images[1], images[3] = TRAINING[5], TRAINING[2][:, ::-1]
    assert rejected(images) == {101: Reason.NEAR_TRAINING_IMAGE, 103: Reason.NEAR_TRAINING_IMAGE}
