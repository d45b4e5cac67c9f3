"""Membership inference on weights recognises what an over-trained generator knows by heart, and nothing else."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from support.spots import CPU, Spots, changed
from synfundus.diffusion.checkpoint import Generator
from synfundus.diffusion.training import GeneratorLearner
from synfundus.evaluation.weights_attack import Choice, attack_generator
from synfundus.fundus.batches import ImageBatch

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NUM_MEMBERS = 12


class People(Spots):
    """Spots of other people in each split; `train` starts at `first`."""

    def __init__(self, first: int) -> None:
        super().__init__(NUM_MEMBERS, 60)
        self._num_images["test"], self.read["test"] = 60, []
        self._first = {"train": first, "validation": 1000, "test": 2000}

    def batch(self, split: str, indices: Sequence[int] | NDArray[np.int64]) -> ImageBatch:
        """Return images by index, those of each split others."""
        return super().batch(split, np.asarray(indices) + self._first[split])


def trained(first: int, num_steps: int) -> Generator:
    config = changed(
        unet={"size_px": 8, "channels": (16, 32), "norm_num_groups": 4},
        num_steps=num_steps,
        batch_size=12,
        learning_rate=4e-3,
        ema_decay=0.9,
        flip_probability=0.0,
    )
    torch.set_num_threads(1)
    learner = GeneratorLearner(People(first), config, CPU)
    for step in range(num_steps):
        learner.train_step(step)
    learner.close()
    return Generator(learner.ema_network, config.schedule, 8, "")


@pytest.fixture(scope="module")
def over_trained() -> Generator:
    return trained(0, 600)


def test_members_of_an_over_trained_generator_are_recognised(over_trained: Generator) -> None:
    attack = attack_generator(over_trained, [], People(0), Choice(100, 0), CPU)
    assert (attack.num_members, attack.num_non_members) == (NUM_MEMBERS, 100)
    assert attack.auc.interval[1] > 0.8
    assert attack.num_references == 0


def test_photographs_that_it_never_saw_are_not_taken_for_members(over_trained: Generator) -> None:
    value, low, high = attack_generator(over_trained, [], People(500), Choice(100, 0), CPU).auc.interval
    assert low < 0.5 < high
    assert value < 0.8


def test_a_reference_generator_cancels_what_makes_a_photograph_easy_for_any_generator(over_trained: Generator) -> None:
    """The target itself as reference leaves nothing: every score is 0, and the area is one half."""
    attack = attack_generator(over_trained, [over_trained], People(0), Choice(100, 0), CPU)
    assert attack.auc.value == 0.5
    assert attack.num_references == 1
