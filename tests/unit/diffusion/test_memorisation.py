"""Memorisation: canaries are repeated as stated, and a checkpoint records how near samples come to training images."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from support.spots import CPU, TINY, Spots, changed
from synfundus.diffusion.config import CanariesConfig
from synfundus.diffusion.memorisation import (
    Canary,
    NearestTrainingImage,
    choose_canaries,
    memorisation_point,
    repeated_images,
)
from synfundus.diffusion.training import GeneratorLearner
from synfundus.errors import WrongInputError
from synfundus.labels import FloatArray
from synfundus.measures.nearest import Nearest, nearest, reference_on

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CANARIES = CanariesConfig(num_patients=2, repeats=(1, 3, 5))


def search_among(images: Spots, num_images: int) -> NearestTrainingImage:
    """Return the search by the distance of standardised pixels."""
    pixels_NHWC = np.stack([images.pixels(i) for i in range(num_images)])
    reference = reference_on(unit_vectors(pixels_NHWC), np.arange(num_images), "cpu")
    return NearestTrainingImage("pixels", lambda pixels_BHWC: nearest(unit_vectors(pixels_BHWC), reference))


def unit_vectors(images_BHWC: NDArray[np.uint8]) -> FloatArray:
    x_BD = images_BHWC.reshape(len(images_BHWC), -1).astype(np.float32) - 127.5
    return np.asarray(x_BD / np.linalg.norm(x_BD, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_every_photograph_of_a_canary_counts_as_often_as_stated_and_every_other_one_once(seed: int) -> None:
    numbers = np.random.default_rng(seed).integers(0, 10, 30 + seed).tolist()
    patients = [f"patient {number}" for number in [*range(10), *numbers]]
    canaries = choose_canaries(patients, CANARIES, seed)
    assert Counter(canary.repeats for canary in canaries) == {1: 2, 3: 2, 5: 2}
    owners = [{patients[i] for i in canary.indices} for canary in canaries]
    assert all(len(owner) == 1 for owner in owners)
    assert len(set.union(*owners)) == 6
    expected = dict.fromkeys(range(len(patients)), 1)
    for canary, owner in zip(canaries, owners, strict=True):
        expected |= {i: canary.repeats for i, patient in enumerate(patients) if patient in owner}
    assert Counter(repeated_images(len(patients), canaries).tolist()) == expected


def test_the_choice_of_canaries_depends_on_the_seed_and_not_on_the_key_of_the_patient_hashes() -> None:
    one = [f"{i // 2}" for i in range(40)]
    other = [f"{97 - i // 2}" for i in range(40)]
    same = [canary.indices.tolist() for canary in choose_canaries(one, CANARIES, 3)]
    assert same == [canary.indices.tolist() for canary in choose_canaries(other, CANARIES, 3)]
    assert same != [canary.indices.tolist() for canary in choose_canaries(one, CANARIES, 4)]


def test_too_few_patients_for_the_canaries_are_refused() -> None:
    with pytest.raises(WrongInputError, match=r"generator\.canaries: needs 6 patients, the split train has 5"):
        choose_canaries([str(i % 5) for i in range(50)], CANARIES, 0)


def test_an_epoch_of_the_training_reads_canaries_repeatedly() -> None:
    config = changed(batch_size=6, num_steps=6, canaries={"num_patients": 1, "repeats": [1, 3, 5]})
    images = Spots(num_images=30)
    learner = GeneratorLearner(images, config, CPU)
    for step in range(6):  # 36 images: an epoch of 30 - 2 + 3 + 5
        learner.train_step(step)
    learner.close()
    assert Counter(Counter(images.read["train"]).values()) == {1: 28, 3: 1, 5: 1}


def test_without_canaries_the_order_of_the_training_is_unchanged() -> None:
    assert np.array_equal(repeated_images(7, []), np.arange(7))


def test_a_sample_counts_for_a_canary_only_if_the_canary_with_its_condition_is_nearest() -> None:
    canaries = [Canary(1, np.array([4])), Canary(10, np.array([7, 8]))]
    near = Nearest(np.array([0.1, 0.2, 0.3, 0.4]), np.full(4, 2.0), np.array([4, 4, 7, 8]), np.zeros(4, np.bool_))
    point = memorisation_point(50, "grey", near, canaries, near)
    assert point.ratios == (0.05, 0.1, 0.15, 0.2)
    once, often = point.canaries
    assert (once.repeats, once.num_samples, once.ratios) == (1, 2, (0.05,))  # sample 2 is nearest to the other one
    assert (often.repeats, often.num_samples, often.ratios) == (10, 2, (0.2,))


def test_a_checkpoint_measures_the_same_samples_each_time_and_changes_no_step() -> None:
    images = Spots(num_images=20)
    measured = GeneratorLearner(images, TINY, CPU)
    measured.nearest = search_among(images, 20)
    plain = GeneratorLearner(Spots(num_images=20), TINY, CPU)
    first = measured.memorisation(0)
    assert first is not None
    assert measured.memorisation(0) == first
    assert (len(first.ratios), first.canaries) == (TINY.memorisation_num_samples, ())
    for step in range(3):
        assert measured.train_step(step) == plain.train_step(step)
    later = measured.memorisation(3)
    assert later is not None
    assert later.ratios != first.ratios
    assert plain.memorisation(3) is None


def test_a_generator_that_learns_few_images_by_heart_comes_nearer_to_them() -> None:
    images = Spots(num_images=2)
    config = changed(num_steps=150, batch_size=8, learning_rate=5e-3, ema_decay=0.9, flip_probability=0.0)
    learner = GeneratorLearner(images, config, CPU)
    learner.nearest = search_among(images, 2)
    before = learner.memorisation(0)
    for step in range(config.num_steps):
        learner.train_step(step)
    after = learner.memorisation(config.num_steps)
    assert before is not None
    assert after is not None
    assert np.median(after.ratios) < 0.7 * np.median(before.ratios)
