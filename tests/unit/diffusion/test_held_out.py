"""The held-out loss: fixed noise, timesteps and labels on a bounded number of validation images."""

from pathlib import Path
from typing import cast

import pytest
import torch

from support.spots import CPU, Spots, changed, learner_of, set_bias
from synfundus.diffusion.training import NUM_HELD_OUT, GeneratorLearner
from synfundus.distributed.records import run_records
from synfundus.distributed.task import TrainingTask
from synfundus.storage import open_storage
from synfundus.training.metadata import LOSSES_FILE, HeldOutLoss, LossCurve

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def held_out(learner: GeneratorLearner, step: int = 0) -> HeldOutLoss:
    loss = learner.held_out_loss(step)
    assert loss is not None
    return loss


@pytest.mark.parametrize(("num_validation", "num_images"), [(10, 10), (256, 256), (5000, 256)])
def test_a_bounded_number_of_evenly_spaced_images_is_read(num_validation: int, num_images: int) -> None:
    images = Spots(num_validation=num_validation)
    learner = GeneratorLearner(images, changed(), CPU)
    assert held_out(learner, 7).num_images == num_images
    read = images.read["validation"]
    assert len(read) == NUM_HELD_OUT
    assert len(set(read)) == num_images
    assert read == sorted(read)
    counts = [read.count(i) for i in set(read)]
    assert max(counts) - min(counts) <= 1
    assert read[-1] >= num_validation - max(1, num_validation // NUM_HELD_OUT) - 1
    assert images.read["train"] == []


def test_the_loss_of_a_constant_output_has_its_closed_form() -> None:
    """A constant output b has the loss 1 + b^2 for the target eps, up to the noise's own mean and variance."""
    learner = learner_of(changed(schedule={"prediction": "epsilon"}), num_validation=20)
    for bias in (0.0, 0.5):
        set_bias(learner, bias)
        learner.ema_network.load_state_dict(learner.network.state_dict())
        assert held_out(learner).loss == pytest.approx(1.0 + bias**2, rel=0.02)


def test_equal_weights_have_an_equal_loss_at_any_step_batch_or_number_of_visits() -> None:
    learner = learner_of(perturb=True, num_validation=30)
    expected = held_out(learner, 3)
    torch.manual_seed(99)  # other code uses the global generator
    assert held_out(learner, 3) == expected
    assert held_out(learner, 9).loss == expected.loss
    other = learner_of(changed(batch_size=24, accumulation_steps=2), perturb=True, num_validation=30)
    assert held_out(other, 3) == expected
    assert held_out(learner_of(changed(seed=5), perturb=True, num_validation=30), 3).loss != expected.loss


def test_a_measurement_does_not_change_the_run_and_falls_with_training() -> None:
    config = changed(num_steps=40, batch_size=16, learning_rate=5e-3)
    without, measured = learner_of(config, num_validation=30), learner_of(config, num_validation=30)
    losses = [held_out(measured).loss]
    for step in range(config.num_steps):
        assert measured.train_step(step) == without.train_step(step)
        if step % 10 == 9:
            losses.append(held_out(measured, step + 1).loss)
    assert losses[-1] < 0.8 * losses[0]


def test_a_dataset_without_validation_images_has_no_held_out_loss() -> None:
    assert learner_of().held_out_loss(1) is None


def test_a_checkpoint_measures_the_loss_and_writes_both_curves_and_tensorboard(tmp_path: Path) -> None:
    class Task:
        run_name = "x-generator"
        storage = open_storage(str(tmp_path))
        config = changed(log_every_steps=1)

    learner = learner_of(Task.config, num_validation=5)
    with run_records(cast(TrainingTask, Task()), 0, [], rank=0) as records:
        assert records is not None
        for step in range(2):
            records.note(learner.train_step(step))
            records.flush(step + 1, learner)
        losses = records.losses
    curve = LossCurve.from_json(Task.storage.read(f"runs/x-generator/{LOSSES_FILE}"), LOSSES_FILE)
    assert curve.steps == tuple(losses)
    assert [point.step for point in curve.held_out] == [1, 2]
    assert curve.held_out == tuple(learner.held_out_losses)
    (events,) = Task.storage.names("runs/x-generator/tensorboard")
    assert b"held_out_loss" in Task.storage.read(events)
