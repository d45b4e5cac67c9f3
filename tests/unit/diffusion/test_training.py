"""The generator's training: averaged weights, learning, exact resume, divergence, sample sheet, refused settings."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from support.clean_image import clean_image
from support.spots import CPU, SIDE, SIDE_FLAG, TINY, Spots, changed, learner_of, set_bias
from synfundus.diffusion.config import GeneratorConfig, ScheduleConfig, UNetConfig
from synfundus.diffusion.engine import Engine, RowRequest
from synfundus.diffusion.noise import normal
from synfundus.diffusion.training import (
    MAX_LOSS_RATIO,
    GeneratorLearner,
    ema_decay_at,
    mask_conditions,
)
from synfundus.errors import TrainingDivergedError, WrongInputError
from synfundus.labels import LABEL_NAMES
from synfundus.resources import TrainingResources

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_ema_decay_grows_from_a_tenth_to_its_limit() -> None:
    assert [ema_decay_at(step, 0.999) for step in (0, 1, 8)] == pytest.approx([1 / 10, 2 / 11, 9 / 18])
    # (1 + s) / (10 + s) reaches 0.999 at s = 8990.
    assert ema_decay_at(8989, 0.999) < 0.999
    assert ema_decay_at(8990, 0.999) == ema_decay_at(10**6, 0.999) == 0.999


def test_the_average_of_a_ramp_lags_a_tenth_of_the_run_and_later_the_decay_time() -> None:
    """After step s the average is 0.9 s (it solves m' = 9 (s - m) / s), or s - d / (1 - d) at a constant decay d."""
    mean = 0.0
    for step in range(5001):
        decay = ema_decay_at(step, 0.999)
        mean = decay * mean + (1.0 - decay) * step
    assert mean == pytest.approx(0.9 * 5000, rel=1e-3)
    mean = 0.0
    for step in range(5001):
        decay = ema_decay_at(step, 0.9)
        mean = decay * mean + (1.0 - decay) * step
    assert mean == pytest.approx(5000 - 0.9 / 0.1, rel=1e-9)


def test_averaged_weights_equal_a_float64_reference() -> None:
    learner = learner_of(changed(ema_decay=0.4))
    reference = {name: value.detach().double() for name, value in learner.network.named_parameters()}
    for step in range(8):
        learner.train_step(step)
        decay = min(0.4, (1 + step) / (10 + step))
        for name, value in learner.network.named_parameters():
            reference[name] = decay * reference[name] + (1.0 - decay) * value.detach().double()
    averaged = dict(learner.ema_network.named_parameters())
    assert averaged.keys() == reference.keys()
    for name, expected in reference.items():
        torch.testing.assert_close(averaged[name].double(), expected, rtol=1e-6, atol=1e-8)
    current = learner.network.get_parameter("conv_out.weight").detach()
    assert float((averaged["conv_out.weight"] - current).abs().max()) > 1e-4


def test_the_trained_network_shows_the_requested_side() -> None:
    """At the noisiest level the input has no image information, so the output depends on the condition only."""
    noisy = {"timestep_sampling": "log-normal", "log_normal_mean": 1.5}
    rates = {"learning_rate": 5e-3, "null_probability": 0.0, "unknown_probability": 0.0}
    config = changed(num_steps=100, batch_size=16, **noisy, **rates)
    learner = learner_of(config)
    losses = [learner.train_step(step).loss for step in range(config.num_steps)]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    condition_BD = torch.zeros(32, 36)
    condition_BD[:, SIDE_FLAG], condition_BD[:16, SIDE], condition_BD[16:, SIDE] = 1.0, -1.0, 1.0
    t_B = torch.full((32,), 999)
    x_t_BCHW = normal(torch.arange(16).repeat(2), 0, (3, 8, 8))
    network: Any = learner.ema_network
    with torch.no_grad():
        output = network(x_t_BCHW, t_B, encoder_hidden_states=None, class_labels=condition_BD).sample
    x0_BCHW = clean_image(learner.schedule, x_t_BCHW, output, t_B)
    left_minus_right_B = x0_BCHW[..., :4].mean(dim=(1, 2, 3)) - x0_BCHW[..., 4:].mean(dim=(1, 2, 3))
    # In the training images the difference is 150 / 127.5 = 1.18; in a right eye the left half is dark. Rows with the
    # same noise differ in the condition only, so a network that ignores it gives equal differences.
    left_eye_B, right_eye_B = left_minus_right_B[16:], left_minus_right_B[:16]
    assert bool((left_eye_B > right_eye_B).all())
    assert float((left_eye_B - right_eye_B).mean()) > 0.5
    assert float(right_eye_B.mean()) < 0.0 < float(left_eye_B.mean())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"resources": {"precision": "bf16"}, "accumulation_steps": 2, "gradient_checkpointing": True},
        {"unet": {**TINY.unet.model_dump(), "dropout": 0.2, "attention_levels": (1,)}, "min_snr_gamma": 5.0},
    ],
    ids=["plain", "bf16-accumulation-checkpointing", "dropout-attention-min-snr"],
)
def test_a_resumed_run_is_bit_equal_to_the_uninterrupted_one(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = changed(**changes)
    uninterrupted = learner_of(config)
    metrics = [uninterrupted.train_step(step) for step in range(7)]
    first = learner_of(config)
    for step in range(3):
        first.train_step(step)
    save_file(first.state(), tmp_path / "state.safetensors")
    torch.manual_seed(99)  # other code uses the global generator
    second = learner_of(config)
    second.load_state(load_file(tmp_path / "state.safetensors"))
    assert [second.train_step(step) for step in range(3, 7)] == metrics[3:]
    resumed, expected = second.state(), uninterrupted.state()
    assert resumed.keys() == expected.keys()
    assert {name.split(".")[0] for name in resumed} == {"network", "optimizer", "ema"}
    assert all(torch.equal(resumed[name], expected[name]) for name in resumed)


def test_a_sheet_does_not_change_the_run() -> None:
    without, with_sheet = learner_of(), learner_of()
    metrics = [without.train_step(step) for step in range(4)]
    assert [with_sheet.train_step(step) for step in range(2)] == metrics[:2]
    with_sheet.sheet()
    assert [with_sheet.train_step(step) for step in range(2, 4)] == metrics[2:]
    assert all(torch.equal(value, with_sheet.state()[name]) for name, value in without.state().items())


def test_a_loss_over_ten_times_that_of_a_zero_output_stops_the_run() -> None:
    """With eps as the target, a constant output b has the loss 1 + b^2, and 0 has the loss 1."""
    config = changed(schedule={"prediction": "epsilon"}, batch_size=32)
    learner = learner_of(config)
    for bias, stops in ((2.9, False), (3.1, True)):
        assert (1 + bias**2 > MAX_LOSS_RATIO) == stops
        set_bias(learner, bias)
        loss = float(learner.loss(range(32)).detach())
        assert math.isinf(loss) if stops else loss == pytest.approx(1 + bias**2, rel=0.02)


@pytest.mark.parametrize("value", [50.0, math.nan], ids=["out-of-range", "nan"])
def test_divergence_stops_the_run_with_its_step_and_a_remedy(value: float) -> None:
    learner = learner_of()
    for step in range(3):
        learner.train_step(step)
    averaged = [weights.clone() for weights in learner.ema_network.parameters()]
    set_bias(learner, value)
    with pytest.raises(TrainingDivergedError, match=r"diverged at step 3: .* lower learning_rate") as raised:
        learner.train_step(3)
    assert "\n" not in str(raised.value)
    # The averaged weights are still those of the last step that was taken.
    assert all(map(torch.equal, averaged, learner.ema_network.parameters()))


def test_a_learning_rate_that_is_far_too_high_stops_the_run() -> None:
    learner = learner_of(changed(learning_rate=100.0, warmup_steps=0))
    with pytest.raises(TrainingDivergedError, match=r"diverged at step [1-9]: .*\(now 100\)"):
        for step in range(10):
            learner.train_step(step)


def test_the_sheet_has_the_same_samples_as_right_and_as_left_eyes() -> None:
    learner = learner_of(perturb=True)
    sheet = learner.sheet()
    assert sheet.shape == (2 * 8, 3 * 8, 3)
    assert sheet.dtype == np.uint8
    batch = Spots().batch("train", [0, 13, 26])
    drawn_BV, flags_BK = learner._fixed_labels(batch, "sheet")
    assert set(np.unique(drawn_BV)) == {0.0, 1.0}  # the filled label is 0.3 in the dataset
    flags_BK[:, LABEL_NAMES.index("eye_side")] = True
    engine = Engine(learner.ema_network, TINY.schedule, (3, 8, 8))
    for row, side in enumerate((0.0, 1.0)):
        drawn_BV[:, SIDE] = side
        none = np.zeros_like(flags_BK)
        conditions = mask_conditions(drawn_BV, flags_BK, none, np.zeros(3, np.bool_))
        images = engine.run([RowRequest(conditions[i], i, TINY.sheet_solver) for i in range(3)], 3)
        expected = np.concatenate(list(images), axis=1)
        assert np.abs(sheet[8 * row : 8 * row + 8].astype(int) - expected.astype(int)).max() <= 1
    assert np.abs(sheet[:8].astype(int) - sheet[8:].astype(int)).max() > 10


def test_settings_that_cannot_be_trained_are_refused() -> None:
    with pytest.raises(WrongInputError, match=r"batch_size: 8 is not a multiple of 1 workers x 3 accumulation steps"):
        learner_of(changed(accumulation_steps=3))
    with pytest.raises(WrongInputError, match=r"batch_size: 8 is not a multiple of 3 workers"):
        GeneratorLearner(Spots(), TINY, CPU, 0, 3)
    with pytest.raises(WrongInputError, match="the split train has no images"):
        learner_of(num_images=0)
    with pytest.raises(WrongInputError, match=r"unet.size_px: is 16, but the images have 8 px; make them equal"):
        learner_of(changed(unet={**TINY.unet.model_dump(), "size_px": 16}))
    with pytest.raises(
        ValidationError, match=r"sheet_solver\.num_steps: 4 is more than the schedule's num_train_timesteps 3; lower it"
    ):
        changed(schedule={"num_train_timesteps": 3})
    with pytest.raises(ValidationError, match="unknown key 'ema_dacay'; did you mean 'ema_decay'"):
        changed(ema_dacay=0.9)


def test_the_guide_names_every_setting() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "generator.md").read_text()
    for config in (GeneratorConfig, TrainingResources, UNetConfig, ScheduleConfig):
        for name in config.model_fields:
            assert f"`{name}`" in guide, f"docs/generator.md does not name {config.__name__}.{name}"
