"""Attacks on a person's privacy by somebody who holds the samples: what does the release say about a photograph?

Each attack runs on training photographs and, as its control, on held-out photographs of other people. What it achieves
on the latter, anyone can achieve without the training data; only the difference is a leak (Giomi et al. 2023, arXiv
2211.10459).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.evaluation.image_sets import Photographs, Samples
from synfundus.evaluation.strata import Labels
from synfundus.labels import DISEASES, LABEL_NAMES
from synfundus.measures.difference import independent_difference
from synfundus.measures.fixed_rate import negatives_needed, sensitivity_at
from synfundus.measures.measure import Measure
from synfundus.measures.nearest import SMALLEST_DISTANCE, Nearest, nearest, reference_on
from synfundus.measures.privacy import DetectionRate, LabelInference, MembershipAttack
from synfundus.measures.roc import auc
from synfundus.measures.statistics import proportion
from synfundus.seeds import random_numbers

FALSE_POSITIVE_RATES = (0.01, 0.001)
"""False positive rates at which the sensitivity of an attack is stated (Carlini et al. 2022)."""
IMAGES_TITLE = "Membership from the images"
IMAGES_ATTACKER = "The attacker holds the samples, a photograph of the person and photographs of other people."
MAX_ATTACKED = 5000
"""Training photographs, and held-out photographs, that are attacked through the samples."""
_DISEASE_COLUMNS = [LABEL_NAMES.index(name) for name in DISEASES]


@dataclass(frozen=True)
class Attacked:
    """Scores of an attack on some photographs; the higher, the more likely is membership."""

    scores: NDArray[np.float64]
    """(N,)"""
    patients: Sequence[str]
    """(N,)"""


@dataclass(frozen=True)
class _Approached:
    """Photographs with their nearest sample."""

    rows: NDArray[np.int64]
    """(M,) rows of the photographs."""
    near: Nearest
    """Their nearest samples, by row among the chosen ones."""


def membership_attack(
    title: str, attacker: str, members: Attacked, non_members: Attacked, num_references: int = 0
) -> MembershipAttack:
    """Return what an attack achieves, with intervals that treat photographs of one patient as dependent."""
    is_member = np.repeat([1, 0], [len(members.scores), len(non_members.scores)])
    score = np.concatenate([members.scores, non_members.scores])
    patients = [*members.patients, *non_members.patients]
    return MembershipAttack(
        title=title,
        attacker=attacker,
        num_members=len(members.scores),
        num_non_members=len(non_members.scores),
        num_references=num_references,
        auc=auc(is_member, score, patients),
        rates=tuple(
            DetectionRate(
                false_positive_rate=rate,
                num_non_members_needed=negatives_needed(rate),
                sensitivity=sensitivity_at(rate, is_member, score, patients),
            )
            for rate in FALSE_POSITIVE_RATES
        ),
    )


def attack_images(
    training: Photographs, held_out: Photographs, samples: Samples, device: str
) -> tuple[MembershipAttack, LabelInference]:
    """Attack photographs through the samples: guess their membership, and guess the diseases of the person.

    A photograph is taken for a member if it lies near a sample (Chen et al. 2020, arXiv 1909.03935), compared with its
    distance to photographs of other people: a photograph that resembles all others is no evidence, and the copy
    detector, which was trained on the training photographs, may place them nearer to everything or farther away.
    Diseases are guessed from the request of the nearest sample.

    Args:
        device: device of the search for near images.
    """
    others = _OtherPeople(held_out, device)
    if others.missing or not len(training.ids) or not len(samples.descriptors_MD):
        return _not_measurable(training, held_out, samples)
    sets = [(photographs, _approach(photographs, samples, device)) for photographs in (training, held_out)]
    members, non_members = (
        Attacked(
            _log(others.distance(photographs, each.rows)) - _log(each.near.distance),
            [photographs.patients[row] for row in each.rows],
        )
        for photographs, each in sets
    )
    attack = membership_attack(IMAGES_TITLE, IMAGES_ATTACKER, members, non_members)
    shares = [_guessed(photographs, each, samples) for photographs, each in sets]
    return attack, LabelInference(
        training=shares[0], held_out=shares[1], excess=independent_difference(shares[0], shares[1])
    )


def _log(distance_M: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.maximum(distance_M, SMALLEST_DISTANCE))


def _not_measurable(
    training: Photographs, held_out: Photographs, samples: Samples
) -> tuple[MembershipAttack, LabelInference]:
    """Return the reason why no photograph can be attacked."""
    num_patients = len(set(held_out.patients))
    reason = (
        f"{len(training.ids)} training photographs, held-out photographs of {num_patients} patients and"
        f" {len(samples.descriptors_MD)} samples; needs 1, 2 and 1"
    )
    nobody = Attacked(np.zeros(0), [])
    attack = membership_attack(IMAGES_TITLE, IMAGES_ATTACKER, nobody, nobody)
    unknown = Measure.not_measurable(reason, 0)
    return (
        attack.model_copy(update={"auc": unknown}),
        LabelInference(training=unknown, held_out=unknown, excess=unknown),
    )


class _OtherPeople:
    """Held-out photographs in two halves by patient, so that each has photographs of other people beside it."""

    def __init__(self, held_out: Photographs, device: str) -> None:
        patients = list(dict.fromkeys(held_out.patients))
        order = random_numbers("other people").permutation(len(patients))
        self._half = dict(zip(patients, (order % 2).tolist(), strict=True))
        half_N = np.array([self._half[patient] for patient in held_out.patients], np.int64)
        self._references = [
            reference_on(held_out.descriptors_ND[half_N != half], np.flatnonzero(half_N != half), device)
            for half in (0, 1)
        ]

    @property
    def missing(self) -> bool:
        """True if there are fewer than two patients."""
        return min(map(len, self._references)) == 0

    def distance(self, photographs: Photographs, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the distance (M,) of each photograph to the nearest one of the half without its own patient.

        Training photographs, whose patients are in neither half, take both halves in turn.
        """
        half_M = np.array([self._half.get(photographs.patients[row], row % 2) for row in rows], np.int64)
        distance_M = np.zeros(len(rows))
        for half, reference in enumerate(self._references):
            mine = half_M == half
            distance_M[mine] = nearest(photographs.descriptors_ND[rows[mine]], reference).distance
        return distance_M


def _approach(photographs: Photographs, samples: Samples, device: str) -> _Approached:
    """Return the nearest sample of each photograph, of at most `MAX_ATTACKED`."""
    order = random_numbers("approached").permutation(len(photographs.ids))
    rows = np.sort(order[:MAX_ATTACKED])
    reference = reference_on(samples.descriptors_MD, np.arange(len(samples.descriptors_MD)), device)
    return _Approached(rows, nearest(photographs.descriptors_ND[rows], reference))


def _guessed(photographs: Photographs, approached: _Approached, samples: Samples) -> Measure:
    """Return the share of the experts' findings that equal the request of the nearest sample."""
    expert_MK = _diseases(photographs.expert_NK[approached.rows])
    requested_MK = _diseases(samples.requested_NK[samples.chosen[approached.near.index]])
    row, column = np.nonzero(expert_MK > 0)
    patients = [photographs.patients[i] for i in approached.rows[row]]
    return proportion(requested_MK[row, column] == expert_MK[row, column], patients)


def _diseases(labels_NK: Labels) -> Labels:
    return labels_NK[:, _DISEASE_COLUMNS]
