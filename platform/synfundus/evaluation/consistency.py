"""Agreement of a grader's predictions with the requests, beside the same for permuted requests."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from synfundus.evaluation.strata import Labels
from synfundus.labels import LABEL_NAMES, LABELS, FloatArray, Label
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import Consistency, LabelConsistency, RocCurve
from synfundus.measures.roc import auc, roc_band
from synfundus.measures.statistics import proportion, quadratic_kappa

UNUSABLE_LABEL = "the grader cannot predict this label"
NO_ANNOTATION = "no sample has an annotation of this label"


def measure_consistency(
    requested_NK: Labels, predicted_NK: Labels, score_NK: FloatArray, unusable: Mapping[str, str], seed: int
) -> Consistency:
    """Return the section `consistency` of the metrics.

    Args:
        requested_NK: conditions.
        predicted_NK: annotations; -1 if unknown, also for diseases and side of an image that is not a fundus.
        score_NK: calibrated probability of the value 1; the column of `dr_grade` is not used.
        unusable: unusable labels, with the reason.
        seed: seed of the permutation.
    """
    return Consistency(
        permutation_seed=seed,
        labels={
            label.name: _measure_label(
                label, requested_NK[:, k], predicted_NK[:, k], score_NK[:, k], label.name in unusable, seed
            )
            for k, label in enumerate(LABELS)
        },
    )


def _measure_label(
    label: Label,
    requested_N: NDArray[np.int8],
    predicted_N: NDArray[np.int8],
    score_N: FloatArray,
    unusable: bool,
    seed: int,
) -> LabelConsistency:
    values = range(label.max_value + 1)
    has_request_N = requested_N >= 0
    requested, predicted, score = requested_N[has_request_N], predicted_N[has_request_N], score_N[has_request_N]
    permuted = np.random.default_rng([seed, LABEL_NAMES.index(label.name)]).permutation(requested)
    is_grade = label.max_value > 1
    if unusable:
        measures = (Measure.not_measurable(UNUSABLE_LABEL, len(requested)),) * 4
    else:
        measures = (
            _statistic(requested, predicted, score, is_grade),
            _statistic(permuted, predicted, score, is_grade),
            _agreement(requested, predicted),
            _agreement(permuted, predicted),
        )
    return LabelConsistency(
        title=label.title,
        kind=label.kind,
        statistic="quadratic_kappa" if is_grade else "auc",
        num_requested=_count(requested, values),
        num_predicted=_count(predicted_N, values),
        requested=measures[0],
        permuted=measures[1],
        beats_permuted=_beats(measures[0], measures[1]),
        agreement=measures[2],
        agreement_permuted=measures[3],
        confusion=tuple(_count(predicted[requested == value], values) for value in values),
        roc=_roc(requested, score) if measures[0].measurable and not is_grade else None,
    )


def _statistic(requested: NDArray[np.int8], predicted: NDArray[np.int8], score: FloatArray, is_grade: bool) -> Measure:
    """Return the AUC of the probability, or the kappa of the grade; an image that is not a fundus has no grade."""
    if not is_grade:
        return auc(requested, score)
    graded = predicted >= 0
    return quadratic_kappa(requested[graded], predicted[graded])


def _agreement(requested: NDArray[np.int8], predicted: NDArray[np.int8]) -> Measure:
    """Return the share of equal values. An image that is not a fundus has neither side nor disease: it does not agree.

    Not measurable without any annotation: the label has no threshold that meets its operating point.
    """
    if len(predicted) and (predicted < 0).all():
        return Measure.not_measurable(NO_ANNOTATION, len(predicted))
    return proportion(predicted == requested)


def _count(labels: NDArray[np.int8], values: range) -> tuple[int, ...]:
    """Return how often each value occurs."""
    return tuple(int((labels == value).sum()) for value in values)


def _beats(requested: Measure, permuted: Measure) -> bool | None:
    """Return whether the interval of `requested` lies above the other; None if one is not measurable."""
    if requested.low is None or permuted.high is None:
        return None
    return requested.low > permuted.high


def _roc(requested: NDArray[np.int8], score: FloatArray) -> RocCurve:
    rate, sensitivity, low, high = (tuple(values.tolist()) for values in roc_band(requested, score))
    return RocCurve(false_positive_rate=rate, sensitivity=sensitivity, low=low, high=high)
