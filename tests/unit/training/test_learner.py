"""A training: order of images, learning rate, exact resume, divergence, refused settings."""

import math
import threading
from collections import Counter

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from synfundus.config import Config
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diffusion.config import GeneratorConfig
from synfundus.errors import TrainingDivergedError, WrongInputError
from synfundus.resources import TrainingResources
from synfundus.training.config import OptimisationConfig
from synfundus.training.learner import Learner, image_indices, learning_rate_at
from synfundus.training.read_ahead import NUM_AHEAD, ReadAhead

CONFIG = OptimisationConfig(
    num_steps=20, batch_size=8, learning_rate=1e-2, warmup_steps=4, resources=TrainingResources(precision="fp32")
)


class _Line(Learner):
    """Fit of y = 3 x; its data are a pure function of the position."""

    def loss(self, positions: range) -> Tensor:
        x = torch.tensor([math.sin(p) for p in positions])[:, None]
        loss: Tensor = (self.forward_network(x) - 3 * x).square().mean()
        return loss


def _line(config: OptimisationConfig = CONFIG) -> _Line:
    torch.manual_seed(0)
    return _Line(nn.Sequential(nn.Linear(1, 8), nn.GELU(), nn.Linear(8, 1)), config, torch.device("cpu"))


def test_learning_rate_warms_up_and_decays_as_half_a_cosine() -> None:
    config = OptimisationConfig(
        num_steps=110, batch_size=1, learning_rate=1.0, warmup_steps=10, final_learning_rate_fraction=0.1
    )
    assert learning_rate_at(0, config) == pytest.approx(0.1)
    assert learning_rate_at(9, config) == pytest.approx(1.0)
    assert learning_rate_at(60, config) == pytest.approx(0.1 + 0.9 * 0.5)
    assert learning_rate_at(110, config) == pytest.approx(0.1)


def test_each_epoch_visits_every_image_once() -> None:
    indices = image_indices(1, range(300), 100)
    for epoch in range(3):
        assert Counter(indices[epoch * 100 : epoch * 100 + 100].tolist()) == Counter(range(100))
    assert indices[:100].tolist() != indices[100:200].tolist()


def test_order_is_a_pure_function_of_seed_and_position() -> None:
    whole = image_indices(1, range(50), 23)
    assert image_indices(1, range(30, 40), 23).tolist() == whole[30:40].tolist()
    assert image_indices(2, range(50), 23).tolist() != whole.tolist()


@pytest.mark.parametrize("num_images", [4096, 262_144])
def test_a_batch_spans_the_hospitals_of_images_sorted_by_name(num_images: int) -> None:
    """A batch of 256 misses one of eight equal hospitals with a probability of 1e-14, whatever the number of images."""
    hospital_N = np.arange(num_images) * 8 // num_images
    batches = image_indices(3, range(num_images), num_images).reshape(-1, 256)
    assert min(len(set(hospital_N[batch].tolist())) for batch in batches) >= 7


def test_a_resumed_run_is_bit_equal_to_the_uninterrupted_one() -> None:
    straight = _line()
    losses = [straight.train_step(step).loss for step in range(20)]
    first = _line()
    for step in range(11):
        first.train_step(step)
    second = _line()
    second.load_state(first.state())
    assert [second.train_step(step).loss for step in range(11, 20)] == losses[11:]
    for name, tensor in straight.state().items():
        assert torch.equal(tensor, second.state()[name]), name


def test_accumulation_equals_one_large_batch() -> None:
    big, small = _line(), _line(CONFIG.model_copy(update={"accumulation_steps": 4}))
    for step in range(5):
        assert small.train_step(step).loss == pytest.approx(big.train_step(step).loss, rel=1e-4)


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_few_micro_batches_are_read_ahead_and_none_behind_the_last_step(accumulation_steps: int) -> None:
    read = list[int]()

    class Reading(_Line):
        def loss(self, positions: range) -> Tensor:
            assert self.inputs is not None
            assert self.inputs.take(positions) == list(positions)
            return super().loss(positions)

    def note(positions: range) -> list[int]:
        read.extend(positions)
        return list(positions)

    config = CONFIG.model_copy(update={"accumulation_steps": accumulation_steps})
    learner = Reading(nn.Linear(1, 1), config, torch.device("cpu"))
    learner.inputs = ReadAhead(note)
    for step in range(11, 20):  # resumed at step 11
        learner.train_step(step)
        assert max(read) < (step + 1) * 8 + NUM_AHEAD * 8 // accumulation_steps
    learner.close()
    assert sorted(read) == list(range(11 * 8, 20 * 8))


def test_the_next_micro_batches_are_read_before_the_loss_of_a_step_ends() -> None:
    started = {first: threading.Event() for first in range(0, 160, 8)}

    def note(positions: range) -> range:
        started[positions.start].set()
        return positions

    class Reading(_Line):
        def loss(self, positions: range) -> Tensor:
            for ahead in range(1, min(NUM_AHEAD, (160 - positions.stop) // 8) + 1):
                assert started[positions.start + ahead * 8].wait(60)
            return super().loss(positions)

    learner = Reading(nn.Linear(1, 1), CONFIG, torch.device("cpu"))
    learner.inputs = ReadAhead(note)
    for step in range(20):
        learner.train_step(step)
    learner.close()


def test_divergence_names_the_step_and_a_remedy() -> None:
    class Broken(_Line):
        def loss(self, positions: range) -> Tensor:
            return super().loss(positions) * (math.nan if positions.start == 3 * CONFIG.batch_size else 1.0)

    torch.manual_seed(0)
    learner = Broken(nn.Linear(1, 1), CONFIG, torch.device("cpu"))
    with pytest.raises(TrainingDivergedError, match=r"diverged at step 3: .* lower learning_rate"):
        for step in range(5):
            learner.train_step(step)


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(WrongInputError, match="batch_size: 8 is not a multiple of 3 workers x 1 accum"):
        _Line(nn.Linear(1, 1), CONFIG, torch.device("cpu"), 0, 3)
    config = CONFIG.model_copy(update={"batch_size": 24, "accumulation_steps": 4})
    config.require_even_batch(3, "annotator.batch_size")
    with pytest.raises(WrongInputError, match=r"^annotator\.batch_size: 24 is not a multiple of 5 workers x 4 accum"):
        config.require_even_batch(5, "annotator.batch_size")


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 0},
        {"accumulation_steps": 0},
        {"num_steps": 0},
        {"learning_rate": -1.0},
        {"warmup_steps": -3},
        {"beta_2": 1.5},
        {"weight_decay": -1.0},
        {"max_gradient_norm": 0.0},
        {"resources": {"num_workers": 0}},
        {"checkpoint_every_steps": 0},
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OptimisationConfig.model_validate({**CONFIG.model_dump(), **changes})


@pytest.mark.parametrize("key", ["num_workers", "num_threads", "precision", "use_gpu"])
@pytest.mark.parametrize(("model", "section"), [(AnnotatorConfig, "annotator"), (GeneratorConfig, "generator")])
def test_a_resource_at_its_old_place_is_refused_with_the_new_one(model: type[Config], section: str, key: str) -> None:
    new = "num_gpus" if key == "use_gpu" else key
    with pytest.raises(ValidationError, match=f"{key} moved to {section}.resources.{new}"):
        model.model_validate({key: 1})
