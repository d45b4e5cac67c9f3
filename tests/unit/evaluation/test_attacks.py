"""Attacks on the samples: copies are recognised, unrelated samples give chance, and numbers equal the references."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from support.attacked_sets import photographs_of, samples_of
from synfundus.evaluation.attacks import Attacked, attack_images, membership_attack
from synfundus.evaluation.image_sets import Photographs, Samples
from synfundus.evaluation.privacy_audit import memorisation_share
from synfundus.evaluation.privacy_gate import recognises_few, succeeds
from synfundus.labels import LABEL_NAMES, NUM_LABELS, FloatArray
from synfundus.measures.nearest import nearest, reference_on
from synfundus.training.metadata import MemorisationPoint

GLAUCOMA = LABEL_NAMES.index("is_gc")


def unit_vectors(count: int, seed: int) -> FloatArray:
    """Return copy descriptors of unrelated images."""
    vectors_ND = np.random.default_rng(seed).normal(size=(count, 32)).astype(np.float32)
    return np.asarray(vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True), np.float32)


def glaucoma_every_third(count: int) -> NDArray[np.int8]:
    labels_NK = np.full((count, NUM_LABELS), -1, np.int8)
    labels_NK[:, GLAUCOMA] = np.arange(count) % 3 == 0
    return labels_NK


def photographs(descriptors_ND: FloatArray, name: str) -> Photographs:
    n = len(descriptors_ND)
    return photographs_of(descriptors_ND, [f"{name}{i // 2}" for i in range(n)], glaucoma_every_third(n))


def samples(descriptors_MD: FloatArray) -> Samples:
    return samples_of(descriptors_MD, glaucoma_every_third(len(descriptors_MD)))


TRAINING, HELD_OUT = unit_vectors(150, 1), unit_vectors(150, 2)


def test_samples_that_repeat_the_training_photographs_reveal_members_and_their_diagnoses() -> None:
    attack, inference = attack_images(photographs(TRAINING, "a"), photographs(HELD_OUT, "b"), samples(TRAINING), "cpu")
    assert (attack.num_members, attack.num_non_members) == (150, 150)
    assert attack.auc.interval[1] > 0.95
    assert succeeds(attack)
    assert not recognises_few(attack)  # 150 other people are too few
    assert inference.training.interval[0] == 1.0
    assert inference.excess.interval[1] > 0.3


def test_samples_of_other_people_reveal_neither_membership_nor_diagnoses() -> None:
    attack, inference = attack_images(
        photographs(TRAINING, "a"), photographs(HELD_OUT, "b"), samples(unit_vectors(150, 3)), "cpu"
    )
    _, low, high = attack.auc.interval
    assert low < 0.5 < high
    assert not succeeds(attack)
    _, low, high = inference.excess.interval
    assert low < 0.0 < high


def test_a_descriptor_that_places_training_photographs_nearer_to_everything_is_no_leak() -> None:
    """The copy detector was trained on the training photographs, so their descriptors may differ from all others."""
    nearer, synthetic, held_out = np.float32(0.7) * TRAINING, unit_vectors(150, 3), unit_vectors(300, 2)
    distances = [nearest(of, reference_on(synthetic, np.arange(150), "cpu")).distance for of in (nearer, held_out)]
    assert roc_auc_score(np.repeat([1, 0], [150, 300]), -np.concatenate(distances)) > 0.9  # without calibration
    attack, _ = attack_images(photographs(nearer, "a"), photographs(held_out, "b"), samples(synthetic), "cpu")
    _, low, high = attack.auc.interval
    assert low < 0.5 < high


def test_the_area_equals_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    members, others = rng.normal(0.7, 1, 80), rng.normal(0, 1, 120)
    names = [str(i) for i in range(200)]
    attack = membership_attack("t", "a", Attacked(members, names[:80]), Attacked(others, names[80:]), 2)
    expected = roc_auc_score(np.repeat([1, 0], [80, 120]), np.concatenate([members, others]))
    assert attack.auc.interval[0] == pytest.approx(expected, abs=1e-12)
    assert attack.num_references == 2


def test_a_low_rate_of_false_accusations_is_measurable_only_with_enough_other_people() -> None:
    rng = np.random.default_rng(1)
    names = [str(i) for i in range(700)]
    attack = membership_attack(
        "t", "a", Attacked(rng.normal(3, 1, 300), names[:300]), Attacked(rng.normal(0, 1, 400), names[300:])
    )
    percent, permille = attack.rates
    assert percent.sensitivity.measurable
    assert percent.num_non_members_needed <= 400
    assert not permille.sensitivity.measurable
    assert permille.num_non_members_needed > 400


def test_photographs_or_samples_that_are_missing_leave_an_attack_unmeasured() -> None:
    for held_out, synthetic in ((HELD_OUT[:0], TRAINING), (HELD_OUT, TRAINING[:0])):
        attack, inference = attack_images(
            photographs(TRAINING, "a"), photographs(held_out, "b"), samples(synthetic), "cpu"
        )
        assert not attack.auc.measurable
        assert not inference.excess.measurable


def test_the_memorisation_of_a_checkpoint_is_the_share_below_the_threshold() -> None:
    share = memorisation_share(MemorisationPoint(step=3, space="s", ratios=(0.1, 0.2, 0.3, 0.4)), 0.3)
    assert (share.step, share.num_samples, share.num_near) == (3, 4, 2)
    assert share.share.interval[0] == 0.5
