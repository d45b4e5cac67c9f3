"""The annotator's training: class weights, loss, exact resume, and learning."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.counts import LabelCounts, count_batches
from synfundus.diagnosis.decisions import read_annotator_metrics
from synfundus.diagnosis.training import AnnotatorLearner, class_weights, masked_loss
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import PreparedImages, read_labels
from synfundus.labels import HEAD_NAMES, HEADS, LABEL_NAMES, NUM_LABELS, NUM_VALUES, expand_known
from synfundus.measures.measure import Measure
from synfundus.storage import Storage

CPU = torch.device("cpu")
SIDE = HEADS["eye_side"].start


def test_counts_equal_those_of_the_decoded_images(spots: PreparedImages) -> None:
    counts = count_batches(read_labels(spots.storage, spots.folder, "train"))
    batch = spots.batch("train", range(spots.num_images("train")))
    np.testing.assert_array_equal(counts.expert_NK, batch.expert_BK)
    np.testing.assert_array_equal(counts.positive_V, batch.p_BV.sum(axis=0))
    np.testing.assert_array_equal(counts.known, expand_known(batch.expert_BK).sum(axis=0))
    # is_fundus is always 1, so images without another label have nothing to learn from.
    assert not counts.both_classes[HEAD_NAMES.index("is_fundus")]
    np.testing.assert_array_equal(counts.teaching(), np.flatnonzero(batch.expert_BK[:, 0]))


def _counts(known: dict[str, tuple[int, int]], num_images: int) -> LabelCounts:
    """Return counts from the numbers (known, positive) of each label; the first `known` images have the label."""
    expert_NK, positive_V = np.zeros((num_images, NUM_LABELS), np.bool_), np.zeros(NUM_VALUES, np.int64)
    for name, (number, positive) in known.items():
        expert_NK[:number, LABEL_NAMES.index(name)] = True
        positive_V[HEADS[name]] = positive
    return LabelCounts(expert_NK, positive_V)


def test_class_weights_balance_classes_and_heads() -> None:
    counts = _counts({"eye_side": (100, 50), "is_gc": (50, 10), "is_amd": (100, 1), "is_fundus": (100, 100)}, 100)
    positive_V, negative_V = class_weights(counts)
    # Three heads have both classes. A balanced head that is always known has weight 1/3.
    assert positive_V[SIDE] == pytest.approx(1 / 3)
    assert negative_V[SIDE] == pytest.approx(1 / 3)
    # 10 positives, 40 negatives, known for half of the images: the classes balance, and so do the heads.
    gc = HEAD_NAMES.index("is_gc")
    assert 10 * positive_V[gc] == pytest.approx(40 * negative_V[gc])
    assert (10 * positive_V[gc] + 40 * negative_V[gc]) / 100 == pytest.approx(1 / 3)
    # 1 positive, 99 negatives: the positive weighs 10 times as much, not 99 times.
    amd = HEAD_NAMES.index("is_amd")
    assert positive_V[amd] / negative_V[amd] == pytest.approx(10)
    assert (1 * positive_V[amd] + 99 * negative_V[amd]) / 100 == pytest.approx(1 / 3)
    # One class only, or no label at all.
    assert positive_V[HEAD_NAMES.index("is_fundus")] == negative_V[HEAD_NAMES.index("is_fundus")] == 0
    assert positive_V[HEAD_NAMES.index("is_pm")] == 0


def test_masked_loss_equals_its_definition_and_ignores_unknown_heads() -> None:
    generator = torch.Generator().manual_seed(0)
    logit = torch.randn(6, NUM_VALUES, generator=generator).requires_grad_()
    p = torch.randint(0, 2, (6, NUM_VALUES), generator=generator).float()
    known = torch.rand(6, NUM_VALUES, generator=generator) < 0.5
    positive, negative = torch.rand(2, NUM_VALUES, generator=generator)
    loss = masked_loss(logit, p, known, positive, negative)
    expected = 0.0
    for b, v in np.argwhere(known.numpy()):
        z, y = float(logit.detach()[b, v]), float(p[b, v])
        probability = 1 / (1 + np.exp(-z))
        expected -= float(positive[v]) * y * np.log(probability) + float(negative[v]) * (1 - y) * np.log1p(-probability)
    assert float(loss.detach()) == pytest.approx(expected / 6, rel=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logit.grad is not None
    assert torch.equal(logit.grad != 0, known)


def test_the_loss_of_a_batch_is_the_mean_of_its_halves() -> None:
    """The normalisers are constants, so gradients averaged over workers are those of the global batch."""
    logit, p = torch.randn(8, NUM_VALUES), torch.rand(8, NUM_VALUES).round()
    known = torch.rand(8, NUM_VALUES) < torch.linspace(0.1, 0.9, 8)[:, None]
    weights = torch.rand(2, NUM_VALUES)
    halves = [masked_loss(logit[s], p[s], known[s], *weights) for s in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(sum(halves) / 2, masked_loss(logit, p, known, *weights))


def test_filled_labels_teach_nothing(
    make_images: Callable[..., PreparedImages], make_row: Callable[..., dict[str, Any]], tiny: AnnotatorConfig
) -> None:
    rows = [make_row(i) for i in range(40)]
    plain = AnnotatorLearner(make_images(rows), tiny, CPU).train_step(0)
    for row in rows:
        row["source_is_gc"], row["filled_is_gc"] = "filled", 0.7
    filled = AnnotatorLearner(make_images(rows, "data/filled"), tiny, CPU).train_step(0)
    assert filled == plain


def test_a_resumed_run_equals_the_uninterrupted_one(spots: PreparedImages, tiny: AnnotatorConfig) -> None:
    uninterrupted = AnnotatorLearner(spots, tiny, CPU)
    losses = [uninterrupted.train_step(step).loss for step in range(6)]
    first = AnnotatorLearner(spots, tiny, CPU)
    for step in range(3):
        first.train_step(step)
    torch.rand(7)  # other code uses the global generator
    second = AnnotatorLearner(spots, tiny, CPU)
    second.load_state(first.state())
    assert [second.train_step(step).loss for step in range(3, 6)] == losses[3:]
    resumed, expected = second.state(), uninterrupted.state()
    assert resumed.keys() == expected.keys()
    assert any("running_mean" in name for name in resumed)
    assert all(torch.equal(resumed[name], expected[name]) for name in resumed)


def test_side_and_grade_are_learnt_and_a_constant_label_is_unusable(
    storage: Storage, spots: PreparedImages, tiny: AnnotatorConfig
) -> None:
    learner = AnnotatorLearner(spots, tiny, CPU)
    for step in range(tiny.num_steps):
        learner.train_step(step)
    scores = learner.save(storage, "annotators/spots", "of the run")
    metrics = read_annotator_metrics(storage, "annotators/spots", {})
    assert metrics.unusable == scores.unusable
    assert metrics.splits["test"].heads["eye_side"].auc == scores.splits["test"].heads["eye_side"].auc
    test = metrics.splits["test"]
    assert test.heads["eye_side"].auc.value == 1.0
    assert test.heads["eye_side"].sensitivity.interval[0] >= 0.9
    assert test.quadratic_kappa.interval[0] > 0.7
    assert "training needs both classes" in metrics.unusable["is_fundus"]
    assert not test.heads["is_fundus"].auc.measurable
    assert test.heads["is_gc"].auc == Measure.not_measurable("needs both classes, has 0 positive and 0 negative", 0)
    annotator = load_annotator(storage, "annotators/spots")
    batch = spots.batch("test", range(spots.num_images("test")))
    rows = annotator.predict(batch.images_BHWC).annotations
    side = [row["eye_side"] for row, known in zip(rows, batch.expert_BK[:, 1], strict=True) if known]
    assert np.mean(side == batch.p_BV[batch.expert_BK[:, 1], SIDE]) > 0.9
    assert all(row["is_fundus"] is None and row["is_gc"] is None for row in rows)


def test_images_without_a_label_to_learn_are_refused(
    make_images: Callable[..., PreparedImages], make_row: Callable[..., dict[str, Any]], tiny: AnnotatorConfig
) -> None:
    images = make_images([make_row(i, eye_side=None, dr_grade=0) for i in range(20)])
    with pytest.raises(WrongInputError, match=r"data/spots: no label has both values in its \d+ training images"):
        AnnotatorLearner(images, tiny, CPU)
