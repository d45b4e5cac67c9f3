"""Combinations of findings that photographs have together: how many of them occur among the samples, and the rare ones.

A combination names patients if few share it. So only combinations of at least as many patients are named as the plan of
the samples demands (docs/decisions/0002-rare-combinations.md); the others are counted.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from synfundus.evaluation.examples import FINDINGS
from synfundus.evaluation.strata import Labels
from synfundus.labels import DISEASES, LABEL_NAMES
from synfundus.measures.diversity_metrics import CombinationCoverage, FindingCombination
from synfundus.measures.measure import Measure
from synfundus.measures.statistics import proportion

NUM_RAREST = 20
"""Largest number of rare combinations that are named."""
COMBINED = tuple(finding for finding in FINDINGS if finding[1] != "eye_side" and finding[1:] != ("dr_grade", 0))
"""Title, label and value of each finding: grades from 1, diseases, unreadable regions, not a fundus."""
NOT_FUNDUS = next(number for number, (_, name, _) in enumerate(COMBINED) if name == "is_fundus")


def combination_keys(labels_NK: Labels) -> NDArray[np.int64]:
    """Return the combination of each image as a number whose bits are its findings in `COMBINED`; -1 if unknown.

    A finding that is unknown counts as absent. An image without any known disease, and not known to be no fundus, has
    no known combination. An image that is not a fundus has that finding alone.
    """
    has_NF = np.stack([labels_NK[:, LABEL_NAMES.index(name)] == value for _, name, value in COMBINED], axis=1)
    no_fundus_N = has_NF[:, NOT_FUNDUS].copy()
    has_NF[no_fundus_N] = False
    has_NF[no_fundus_N, NOT_FUNDUS] = True
    judged_N = (labels_NK[:, [LABEL_NAMES.index(name) for name in DISEASES]] >= 0).any(axis=1) | no_fundus_N
    return np.where(judged_N, has_NF @ (1 << np.arange(len(COMBINED))), -1)


@dataclass(frozen=True)
class LabelledPhotographs:
    """Experts' labels of photographs, with the patient of each."""

    labels_NK: Labels
    patients: Sequence[str]


def cover_combinations(
    training: LabelledPhotographs,
    held_out: LabelledPhotographs,
    requested_NK: Labels,
    annotated_NK: Labels,
    *,
    min_patients: int,
    seed: int,
) -> CombinationCoverage:
    """Return which combinations of findings of the photographs occur among the samples.

    Args:
        requested_NK, annotated_NK: conditions and annotations of the samples.
        min_patients: smallest number of patients that share a combination that is named.
        seed: seed of the choice of n training photographs and n samples.
    """
    sets = (training.labels_NK, held_out.labels_NK, requested_NK, annotated_NK)
    of_training, of_held_out, requested, annotated = map(combination_keys, sets)
    known_N = of_held_out >= 0
    patients = list(compress(held_out.patients, known_N))
    n = min(int((of_training >= 0).sum()), int((requested >= 0).sum()))
    by_training, by_requests, by_annotations = (
        _covered(of_held_out[known_N], patients, _choose(keys, n, seed)) for keys in (of_training, requested, annotated)
    )
    rows = _rows(of_training, training.patients, Counter(requested.tolist()), Counter(annotated.tolist()))
    named = [row for row in rows if row.num_patients >= min_patients]
    return CombinationCoverage(
        n=n,
        by_training=by_training,
        by_requests=by_requests,
        by_annotations=by_annotations,
        num_combinations=len(rows),
        num_requested=sum(row.num_requested > 0 for row in rows),
        num_annotated=sum(row.num_annotated > 0 for row in rows),
        min_patients=min_patients,
        num_unnamed=len(rows) - len(named),
        rarest=tuple(named[:NUM_RAREST]),
    )


def _choose(keys_N: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """Return at most `n` known combinations, chosen at random."""
    known = keys_N[keys_N >= 0]
    return known[np.random.default_rng(seed).permutation(len(known))[:n]]


def _covered(held_out_M: NDArray[np.int64], patients: Sequence[str], keys_N: NDArray[np.int64]) -> Measure:
    """Return the share of the held-out photographs whose combination is among the keys."""
    if not len(keys_N):
        return Measure.not_measurable("no image with a known combination to compare with", len(held_out_M))
    if not len(held_out_M):
        return Measure.not_measurable("no held-out photograph with a known combination", 0)
    return proportion(np.isin(held_out_M, keys_N), patients)


def _rows(
    training_N: NDArray[np.int64], patients: Sequence[str], requested: Counter[int], annotated: Counter[int]
) -> list[FindingCombination]:
    """Return every combination of the training photographs, rarest first."""
    images: Counter[int] = Counter()
    having: defaultdict[int, set[str]] = defaultdict(set)
    for key, patient in zip(training_N.tolist(), patients, strict=True):
        if key >= 0:
            images[key] += 1
            having[key].add(patient)
    rows = [
        FindingCombination(
            findings=tuple(title for bit, (title, _, _) in enumerate(COMBINED) if key >> bit & 1),
            num_photographs=count,
            num_patients=len(having[key]),
            num_requested=requested[key],
            num_annotated=annotated[key],
        )
        for key, count in images.items()
    ]
    return sorted(rows, key=lambda row: (row.num_patients, row.num_photographs, row.findings))
