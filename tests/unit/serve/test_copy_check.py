"""Generated images that lie too near to a training photograph are withheld, in JSON and as a PNG."""

import asyncio
import json

import numpy as np
import pytest
import torch

from support.datasets_of_phantoms import phantom_dataset
from support.models_of_phantoms import train_copy_detector
from synfundus.copies.detector import load_copy_detector
from synfundus.copies.reference import read_reference
from synfundus.diffusion.config import SolverConfig
from synfundus.fundus.dataset import PreparedImages
from synfundus.labels import LABEL_NAMES
from synfundus.measures.nearest import nearest
from synfundus.storage import Storage
from synfundus_serve.copy_check import CopyCheck
from synfundus_serve.generate_route import _png_response
from synfundus_serve.messages import GeneratedImage, GenerateResponse
from synfundus_serve.problems import Problem


def test_copies_are_those_below_the_threshold_of_the_detector(storage: Storage) -> None:
    phantom_dataset(storage, "data/p", 40, 32)
    train_copy_detector(storage, "data/p", "copy_detectors/p")
    images = PreparedImages(storage, "data/p")
    training, others = (next(images.batches(split)).images_BHWC for split in ("train", "test"))
    mixed = np.concatenate([training[:3], training[3:5, :, ::-1], others])
    found = asyncio.run(CopyCheck(storage, "copy_detectors/p", torch.device("cpu"), 1).is_copy(mixed))
    assert found[:5].all()
    detector = load_copy_detector(storage, "copy_detectors/p")
    ratios = nearest(detector.descriptors(others), read_reference(storage, "copy_detectors/p").on("cpu")).ratio
    np.testing.assert_array_equal(found[5:], ratios < detector.threshold)


def response(image: bytes | None) -> GenerateResponse:
    unknown = dict.fromkeys(LABEL_NAMES)
    generated = GeneratedImage(
        image=image,
        withheld=None if image else "near_training_image",
        seed=7,
        condition=unknown,
        annotation=unknown,
        probability=unknown,
    )
    return GenerateResponse(model="m", annotator="a", solver=SolverConfig(), images=[generated])


def test_a_withheld_image_is_null_in_json_and_says_why() -> None:
    (generated,) = json.loads(response(None).model_dump_json())["images"]
    assert (generated["image"], generated["withheld"], generated["seed"]) == (None, "near_training_image", 7)
    (generated,) = json.loads(response(b"png").model_dump_json())["images"]
    assert (generated["image"], generated["withheld"]) == ("cG5n", None)


def test_a_withheld_png_is_422_and_names_the_seed() -> None:
    with pytest.raises(Problem, match="seed 7: the image lies too near to a training photograph; choose another") as it:
        _png_response(response(None))
    assert it.value.status_code == 422
