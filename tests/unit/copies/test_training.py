"""Training of the encoder: the loss equals its formula, repeated photographs of an eye attract, a resume is exact."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from support.datasets_of_phantoms import phantom_dataset
from support.models_of_phantoms import COPY_DETECTOR
from synfundus.copies import training
from synfundus.copies.augmentation import FIRST_VIEW, NUM_DRAWS, NUM_PLACEMENTS, altered, draw_views
from synfundus.copies.training import UNKNOWN_EYE, CopyLearner, contrastive_loss, read_training_images
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import PreparedImages
from synfundus.labels import HEADS, LABEL_NAMES
from synfundus.storage import Storage

CPU = torch.device("cpu")


def unit(count: int, dim: int = 5) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(0)), dim=1)


def exhaustive_loss(
    code: NDArray[np.float64], photograph: list[int], patient: list[int], eye: list[int], scale: float
) -> float:
    """Return equation 2 of Khosla et al. 2020, one term after the other."""
    similarity = np.exp(code @ code.T * scale)
    views, losses = range(len(code)), []
    for i in views:
        positives = [
            p
            for p in views
            if p != i and (photograph[p] == photograph[i] or (eye[p] == eye[i] and eye[i] != UNKNOWN_EYE))
        ]
        compared = [a for a in views if a in positives or patient[a] != patient[i]]
        total = sum(similarity[i, a] for a in compared)
        losses.append(-np.mean([np.log(similarity[i, p] / total) for p in positives]))
    return float(np.mean(losses))


@pytest.mark.parametrize("eye", [[UNKNOWN_EYE] * 4, [10, 10, 21, 30], [10, 11, 20, 30]])
def test_the_loss_equals_its_formula(eye: list[int]) -> None:
    photograph, patient, eyes = [0, 1, 2, 3] * 2, [5, 5, 6, 7] * 2, eye * 2
    code = unit(8)
    expected = exhaustive_loss(code.numpy().astype(np.float64), photograph, patient, eyes, 10.0)
    numbers = (torch.tensor(photograph), torch.tensor(patient), torch.tensor(eyes))
    found = contrastive_loss(code, *numbers, 10.0)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_another_photograph_of_the_same_patient_does_not_change_the_loss_of_a_view() -> None:
    """Both eyes of a patient, or one eye twice without a label, are neither alike nor different by decree."""
    code = unit(6)
    patient = torch.tensor([0, 0, 1] * 2)
    unknown = torch.full((6,), UNKNOWN_EYE)
    near, far = code.clone(), code.clone()
    near[1], far[1] = code[0], -code[0]
    losses = []
    for codes in (near, far):
        similarity = codes @ codes.T
        compared = [0, 2, 3, 5]  # without the other photograph of the patient of view 0
        rows = contrastive_loss(codes[compared], torch.tensor([0, 2, 0, 2]), patient[compared], unknown[compared], 5.0)
        losses.append(float(rows))
        assert similarity[0, 1].abs() == pytest.approx(1.0, abs=1e-5)
    assert losses[0] == losses[1]


def test_views_are_a_function_of_seed_position_and_view_alone() -> None:
    together = draw_views(COPY_DETECTOR, range(4, 8), 0, CPU)
    alone = draw_views(COPY_DETECTOR, range(6, 7), 0, CPU)
    for of_all, of_one in zip(together, alone, strict=True):
        assert torch.equal(of_all[2:3], of_one)
    other_view = draw_views(COPY_DETECTOR, range(4, 8), 1, CPU)
    assert not torch.equal(together[0], other_view[0])


def test_without_an_alteration_a_view_is_the_grey_channel() -> None:
    x = torch.rand(2, 3, 32, 32) * 0.8 + 0.1
    u, noise = torch.zeros(2, NUM_DRAWS), torch.randn(2, 1, 32, 32)
    grey = (x * torch.tensor([0.25, 0.65, 0.10]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(altered(x, u, noise), grey, atol=1e-5, rtol=1e-5)


def test_the_limits_of_the_alterations_are_those_that_are_stated() -> None:
    """A bright column moves by the stated share of the side, whichever other number is drawn."""
    x = torch.full((1, 3, 32, 32), 0.2)
    x[:, :, :, 16:18] = 0.9
    u = torch.zeros(1, NUM_DRAWS)
    u[0, 2] = 1.0
    column = altered(x, u, torch.zeros(1, 1, 32, 32))[0, 0, 16].argmax()
    assert int(column) in (12, 13)  # 14 % of 32 px to the left


def test_the_first_view_is_moved_less_and_changes_colour_as_much() -> None:
    first, second = (draw_views(COPY_DETECTOR, range(500), view, CPU)[0].abs().amax(0) for view in range(2))
    assert first[:NUM_PLACEMENTS].max() < FIRST_VIEW
    assert first[:NUM_PLACEMENTS].min() > 0.95 * FIRST_VIEW
    assert torch.cat([first[NUM_PLACEMENTS:], second]).min() > 0.95


@pytest.fixture
def images(storage: Storage) -> PreparedImages:
    phantom_dataset(storage, "data/p", 60, 32)
    return PreparedImages(storage, "data/p")


def test_a_resumed_training_equals_the_undisturbed_one(images: PreparedImages) -> None:
    straight = CopyLearner(images, COPY_DETECTOR, CPU)
    losses = [straight.train_step(step).loss for step in range(8)]
    first = CopyLearner(images, COPY_DETECTOR, CPU)
    for step in range(4):
        first.train_step(step)
    second = CopyLearner(images, COPY_DETECTOR, CPU)
    second.load_state(first.state())
    assert [second.train_step(step).loss for step in range(4, 8)] == losses[4:]


def test_eyes_are_numbered_by_patient_and_experts_side(images: PreparedImages) -> None:
    read = read_training_images(images, 32, 0)
    labels = images.labels("train", range(images.num_images("train")))
    known = labels.expert_BK[:, LABEL_NAMES.index("eye_side")]
    side = labels.p_BV[:, HEADS["eye_side"]][:, 0]
    for i in range(len(labels)):
        for j in range(len(labels)):
            same_patient = labels.patients[i] == labels.patients[j]
            assert (read.patient_N[i] == read.patient_N[j]) == same_patient
            same_eye = same_patient and known[i] and known[j] and side[i] == side[j]
            assert (read.eye_N[i] == read.eye_N[j] != UNKNOWN_EYE) == bool(same_eye)


def test_of_many_photographs_some_are_chosen_at_random(images: PreparedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = read_training_images(images, 32, 0)
    monkeypatch.setattr(training, "MAX_TRAINING_IMAGES", 10)
    some, other = read_training_images(images, 32, 0), read_training_images(images, 32, 1)
    assert len(some.images_NSSC) == 10
    known = {image.tobytes() for image in everything.images_NSSC}
    assert {image.tobytes() for image in some.images_NSSC} < known
    assert not np.array_equal(some.images_NSSC, other.images_NSSC)


def test_one_patient_is_refused(storage: Storage) -> None:
    phantom_dataset(storage, "data/one", 2, 32)
    with pytest.raises(WrongInputError, match="data/one: 1 patients in the training split"):
        CopyLearner(PreparedImages(storage, "data/one"), COPY_DETECTOR, CPU)
