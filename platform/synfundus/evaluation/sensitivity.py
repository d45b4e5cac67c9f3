"""Clearness of findings on samples: sensitivity at a matched specificity, samples against held-out photographs.

For each disease and each set, `sensitivity_at` puts the threshold where the specificity in that set is `SPECIFICITY`,
and counts the positives above it; its interval counts the threshold as estimated. Both sets have as many positives and
as many negatives, because a threshold from few negatives is biased. Positives are photographs by an expert's label, and
samples by their request.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.diagnosis.held_out import Predictions
from synfundus.evaluation.strata import GROUPS, STRATA, Labels
from synfundus.labels import DISEASES, HEADS, LABEL_NAMES, FloatArray
from synfundus.measures.difference import independent_difference
from synfundus.measures.fixed_rate import sensitivity_at
from synfundus.measures.inputs import Floats
from synfundus.measures.judge_metrics import GroupSensitivity, Sensitivity, SensitivityComparison
from synfundus.measures.measure import Measure

SPECIFICITY = 0.9
"""Specificity at which the sensitivities are compared."""
MIN_POSITIVES, MIN_NEGATIVES = 10, 50
"""Smallest number of images of each class in each set for which a disease is compared."""


@dataclass(frozen=True)
class ScoredImages:
    """Images of one set with their scores for one disease."""

    positive_N: NDArray[np.bool_]
    score_N: Floats
    """Higher for images that show the finding more clearly; any scale."""
    patient_N: NDArray[np.str_]
    """Patient of each photograph; each sample counts as a patient."""

    @property
    def num_positive(self) -> int:
        return int(self.positive_N.sum())

    @property
    def num_negative(self) -> int:
        return int((~self.positive_N).sum())

    def choose(self, num_positive: int, num_negative: int, seed: Sequence[int]) -> "ScoredImages":
        """Return so many images of each class, chosen at random by the seed."""
        rng = np.random.default_rng(seed)
        wanted = ((self.positive_N, num_positive), (~self.positive_N, num_negative))
        rows = np.concatenate([rng.permutation(np.flatnonzero(of_class))[:number] for of_class, number in wanted])
        return ScoredImages(self.positive_N[rows], self.score_N[rows], self.patient_N[rows])

    def sensitivity(self) -> Measure:
        """Return the sensitivity at `SPECIFICITY`; n is the number of positives."""
        return sensitivity_at(1.0 - SPECIFICITY, self.positive_N, self.score_N, self.patient_N)


def compare_sensitivities(
    held_out: Mapping[str, Predictions],
    requested_NK: Labels,
    score_NK: FloatArray,
    unusable: Mapping[str, str],
    seed: int,
) -> Sensitivity:
    """Return the section `sensitivity` of the metrics.

    Args:
        held_out: the grader's logits and experts' labels of the held-out photographs, by split.
        requested_NK: conditions of the samples that were graded.
        score_NK: the grader's probability of the value 1 (of grade 1 or more); NaN if there is none.
        unusable: labels that the grader cannot predict, with the reason.
        seed: seed of the choice of images.
    """
    diseases = {
        name: _compare(name, _photographs(held_out, name), _samples(requested_NK, score_NK, name), unusable, seed)
        for name in DISEASES
    }
    groups = {key: _group(key, diseases) for key in GROUPS}
    contrast = independent_difference(groups["subtle"].difference, groups["widespread"].difference)
    return Sensitivity(specificity=SPECIFICITY, diseases=diseases, groups=groups, contrast=contrast)


def _photographs(held_out: Mapping[str, Predictions], name: str) -> ScoredImages:
    """Return the held-out photographs with an expert's label of the disease."""
    y, scores, patients = [np.zeros(0, np.int64)], [np.zeros(0)], list[str]()
    for split, predictions in held_out.items():
        labels, logits, numbers = predictions.head(HEADS[name].start)
        y.append(labels)
        scores.append(logits)
        patients += [f"{split} {number}" for number in numbers]  # each split numbers its patients from 0
    return ScoredImages(np.concatenate(y) > 0, np.concatenate(scores), np.asarray(patients, np.str_))


def _samples(requested_NK: Labels, score_NK: FloatArray, name: str) -> ScoredImages:
    """Return the graded samples with a request of the disease."""
    k = LABEL_NAMES.index(name)
    rows = np.flatnonzero((requested_NK[:, k] >= 0) & np.isfinite(score_NK[:, k]))
    patient_N = np.asarray([str(row) for row in rows], np.str_)
    return ScoredImages(requested_NK[rows, k] > 0, score_NK[rows, k].astype(np.float64), patient_N)


def _compare(
    name: str, photographs: ScoredImages, samples: ScoredImages, unusable: Mapping[str, str], seed: int
) -> SensitivityComparison:
    """Return the sensitivities to one disease at equal n, or the reason why there are none."""
    num_positive = min(photographs.num_positive, samples.num_positive)
    num_negative = min(photographs.num_negative, samples.num_negative)
    refusal = _refusal(name, photographs, samples, unusable)
    if refusal is not None:
        on_photographs = on_samples = Measure.not_measurable(refusal, num_positive)
    else:
        k = LABEL_NAMES.index(name)
        on_photographs = photographs.choose(num_positive, num_negative, (seed, k, 0)).sensitivity()
        on_samples = samples.choose(num_positive, num_negative, (seed, k, 1)).sensitivity()
    return SensitivityComparison(
        title=STRATA[name].text.title,
        num_positive=num_positive,
        num_negative=num_negative,
        photographs=on_photographs,
        samples=on_samples,
        difference=independent_difference(on_samples, on_photographs),
    )


def _refusal(name: str, photographs: ScoredImages, samples: ScoredImages, unusable: Mapping[str, str]) -> str | None:
    """Return why a disease is not compared; None if it is."""
    if name in unusable:
        return f"the grader cannot predict this label: {unusable[name]}"
    fewest_positive = min(photographs.num_positive, samples.num_positive)
    if fewest_positive >= MIN_POSITIVES and min(photographs.num_negative, samples.num_negative) >= MIN_NEGATIVES:
        return None
    return (
        f"with and without the finding {photographs.num_positive} and {photographs.num_negative} photographs,"
        f" {samples.num_positive} and {samples.num_negative} samples; needs {MIN_POSITIVES} and {MIN_NEGATIVES} each"
    )


def _group(key: str, compared: Mapping[str, SensitivityComparison]) -> GroupSensitivity:
    """Return the means over the diseases of a group that were compared."""
    text = GROUPS[key]
    diseases = tuple(name for name in text.diseases if compared[name].difference.measurable)
    photographs = independent_mean([compared[name].photographs for name in diseases])
    samples = independent_mean([compared[name].samples for name in diseases])
    return GroupSensitivity(
        title=text.title,
        diseases=diseases,
        photographs=photographs,
        samples=samples,
        difference=independent_difference(samples, photographs),
    )


def independent_mean(measures: Sequence[Measure]) -> Measure:
    """Return the mean of independent estimates with the interval of Zou & Donner 2008 (doi 10.1002/sim.3095).

    The distances of its limits from the mean are the root sums of squares of those of the estimates, over their number.
    """
    if not measures:
        return Measure.not_measurable("no disease of this group could be compared", 0)
    value_D, low_D, high_D = np.array([measure.interval for measure in measures]).T
    mean, below, above = value_D.mean(), np.linalg.norm(value_D - low_D), np.linalg.norm(high_D - value_D)
    n = sum(measure.n for measure in measures)
    return Measure.measured(float(mean), float(mean - below / len(measures)), float(mean + above / len(measures)), n)
