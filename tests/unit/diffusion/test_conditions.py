"""Conditions of the training: unknown, null, filled and hidden labels, and flips."""

import math

import numpy as np
import pytest
import torch

from support.spots import GLAUCOMA, GRADE_FLAG, SIDE, SIDE_FLAG, TINY, Spots, changed, learner_of
from synfundus.diffusion.training import (
    mask_conditions,
)
from synfundus.labels import LABEL_NAMES, NULL_INDEX, NUM_LABELS, NUM_VALUES, null_condition
from synfundus.training.learner import image_indices

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_unknown_differs_from_null() -> None:
    value_BV, known_BK = np.zeros((4, NUM_VALUES), np.float32), np.zeros((4, NUM_LABELS), np.bool_)
    value_BV[:, :4], known_BK[:, 0] = (1, 1, 0, 0), True  # grade 2
    value_BV[:, GLAUCOMA], known_BK[:, LABEL_NAMES.index("is_gc")] = 0, True
    hidden_BK, null_B = np.zeros_like(known_BK), np.array([False, False, False, True])
    hidden_BK[1, 0], hidden_BK[2] = True, True
    full, without_grade, nothing, null = mask_conditions(value_BV, known_BK, hidden_BK, null_B)
    gc_flag = NUM_VALUES + LABEL_NAMES.index("is_gc")
    expected = np.zeros(36, np.float32)
    expected[[GLAUCOMA, gc_flag]] = -1.0, 1.0
    np.testing.assert_array_equal(without_grade, expected)
    expected[[0, 1, 2, 3, GRADE_FLAG]] = 1, 1, -1, -1, 1
    np.testing.assert_array_equal(full, expected)
    np.testing.assert_array_equal(nothing, np.zeros(36))
    np.testing.assert_array_equal(null, null_condition())


def test_conditions_are_dropped_and_labels_hidden_at_their_rates_and_independently() -> None:
    num, null_rate, hidden_rate = 6000, 0.15, 0.25
    learner = learner_of(changed(null_probability=null_rate, unknown_probability=hidden_rate))
    condition_BD = learner._inputs(range(num))[1].numpy()
    null_B = condition_BD[:, NULL_INDEX] == 1.0
    assert null_B.mean() == pytest.approx(null_rate, abs=4 * math.sqrt(null_rate * (1 - null_rate) / num))
    np.testing.assert_array_equal(condition_BD[null_B], np.tile(null_condition(), (null_B.sum(), 1)))
    rest = condition_BD[~null_B]
    flags = rest[:, NUM_VALUES:NULL_INDEX]
    bound = 4 * math.sqrt(hidden_rate * (1 - hidden_rate) / len(rest))
    columns = [LABEL_NAMES.index(name) for name in ("dr_grade", "is_gc", "is_fundus")]
    assert flags[:, columns].mean(axis=0) == pytest.approx(1 - hidden_rate, abs=bound)
    # A fifth of the sides is unknown in the dataset.
    assert flags[:, LABEL_NAMES.index("eye_side")].mean() == pytest.approx(0.8 * (1 - hidden_rate), abs=1.5 * bound)
    assert np.abs(np.corrcoef(flags[:, columns].T) - np.eye(3)).max() < 4 / math.sqrt(len(rest))
    # The four numbers of a grade are hidden together, and a hidden value is 0.
    np.testing.assert_array_equal(np.abs(rest[:, :4]), np.repeat(flags[:, :1], 4, axis=1))
    np.testing.assert_array_equal(np.abs(rest[:, GLAUCOMA]), flags[:, LABEL_NAMES.index("is_gc")])


def test_a_filled_label_is_drawn_anew_at_each_visit_and_an_experts_is_not() -> None:
    """Glaucoma is filled with 0.3. In 40 images x 100 visits, an image's values are as independent as coins."""
    num_visits = 100
    learner = learner_of(changed(flip_probability=0.0, null_probability=0.0, unknown_probability=0.0))
    positions = range(40 * num_visits)
    condition_BD = learner._inputs(positions)[1].numpy()
    indices = image_indices(TINY.seed, positions, 40)
    order = np.argsort(indices, kind="stable")
    positive = (condition_BD[order, GLAUCOMA] == 1.0).reshape(40, num_visits)
    assert set(np.unique(condition_BD[:, GLAUCOMA])) == {-1.0, 1.0}
    assert positive.mean() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / positive.size))
    # The share of an image varies by sqrt(0.21 / 100); a label that is drawn once would vary by sqrt(0.21).
    assert positive.mean(axis=1).std() == pytest.approx(math.sqrt(0.21 / num_visits), rel=0.5)
    np.testing.assert_array_equal((condition_BD[:, :4] > 0).sum(axis=1), indices % 5)  # experts' grades


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_a_flip_mirrors_the_image_and_swaps_its_side(probability: float) -> None:
    learner = learner_of(changed(flip_probability=probability, null_probability=0.0, unknown_probability=0.0))
    num = 400
    x0_BCHW, condition = learner._inputs(range(num))
    indices = image_indices(TINY.seed, range(num), 40)
    plain_BHWC = np.stack([Spots().pixels(int(i)) for i in indices])
    x0_BHWC = np.rint((x0_BCHW.permute(0, 2, 3, 1).numpy() + 1.0) * 127.5).astype(np.uint8)
    flipped_B = (x0_BHWC == plain_BHWC[:, :, ::-1]).all(axis=(1, 2, 3))
    assert ((x0_BHWC == plain_BHWC).all(axis=(1, 2, 3)) ^ flipped_B).all()
    assert flipped_B.mean() == pytest.approx(probability, abs=4 * math.sqrt(0.25 / num) if probability == 0.5 else 0)
    known_B = indices % Spots.unknown_side_every != Spots.unknown_side_every - 1
    condition_BD = condition.numpy()
    np.testing.assert_array_equal(condition_BD[:, SIDE_FLAG], known_B)
    np.testing.assert_array_equal(condition_BD[~known_B, SIDE], 0.0)
    # Image and condition agree: if the right half is bright, the side is -1 (right).
    left_bright_B = x0_BHWC[:, :, :4].mean(axis=(1, 2, 3)) > x0_BHWC[:, :, 4:].mean(axis=(1, 2, 3))
    np.testing.assert_array_equal(condition_BD[known_B, SIDE], np.where(left_bright_B[known_B], 1.0, -1.0))
    grades = (condition_BD[:, :4] > 0).sum(axis=1)
    np.testing.assert_array_equal(grades, indices % 5)


def test_random_numbers_of_an_image_do_not_depend_on_its_micro_batch() -> None:
    learner = learner_of()
    x0_BCHW, condition_BD = learner._inputs(range(24))
    for micro in (range(3), range(5, 21)):
        x0_micro, condition_micro = learner._inputs(micro)
        assert torch.equal(x0_micro, x0_BCHW[micro.start : micro.stop])
        assert torch.equal(condition_micro, condition_BD[micro.start : micro.stop])
