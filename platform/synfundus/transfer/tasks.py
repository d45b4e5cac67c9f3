"""One target on one test set: experts' values, and what models score on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.measures.difference import Difference
from synfundus.measures.inputs import Floats
from synfundus.measures.measure import Measure
from synfundus.measures.metric_names import MetricName
from synfundus.measures.paired import SINGLE, paired_difference, seed_mean
from synfundus.measures.transfer_metrics import TargetCounts
from synfundus.transfer.targets import SingleTarget, metric_input
from synfundus.transfer.trained import TestSet, TrainedModel

MIN_PATIENTS = 2
"""Smallest number of patients with and without a finding for which a target is measured."""
UNDETERMINED = "validation does not determine calibration and threshold of this target"
NO_SEED = "no seed of which both arms have a model"


@dataclass(frozen=True)
class Task:
    """One target on one test set, with the photographs that an expert labelled."""

    target: SingleTarget
    test: TestSet
    rows_N: NDArray[np.bool_]
    truth: NDArray[np.int64]
    """Labels (n,)."""
    groups: NDArray[np.str_]
    """Patients (n,)."""

    @classmethod
    def of(cls, target: SingleTarget, test: TestSet) -> "Task":
        """Take the labelled photographs of a test set."""
        rows_N = target.labelled(test.expert_NK)
        return cls(target, test, rows_N, target.truth(test.value_NV)[rows_N], test.patients[rows_N])

    @property
    def reason(self) -> str | None:
        """Reason why nothing can be measured; None if something can."""
        if self.target.ordinal:
            return None if len(np.unique(self.truth)) > 1 else "needs at least two different grades"
        with_finding, without = (len(np.unique(self.groups[self.truth == value])) for value in (1, 0))
        if min(with_finding, without) >= MIN_PATIENTS:
            return None
        return f"needs {MIN_PATIENTS} patients of each class, has {with_finding} with and {without} without the finding"

    @property
    def num_images(self) -> int:
        """Photographs that an expert labelled."""
        return len(self.truth)

    @property
    def counts(self) -> TargetCounts:
        """Numbers of photographs and patients."""
        positive = self.truth > 0
        return TargetCounts(
            test_set=self.test.name,
            target=self.target.name,
            num_labels=1,
            num_images=self.num_images,
            num_patients=len(np.unique(self.groups)),
            num_positive=int(positive.sum()),
            num_positive_patients=len(np.unique(self.groups[positive])),
        )

    def score(self, metric: MetricName, models: Sequence[TrainedModel]) -> Measure:
        """Return the mean of a metric over the models of several seeds."""
        inputs_SN = self._inputs(metric, models)
        if np.isnan(inputs_SN).any():
            return Measure.not_measurable(UNDETERMINED, len(self.truth))
        return seed_mean(metric, self.truth, inputs_SN, self.groups)

    def difference(
        self, metric: MetricName, models: Sequence[TrainedModel], references: Sequence[TrainedModel]
    ) -> Difference:
        """Return the mean difference of a metric over pairs of models with the same seeds."""
        n = len(self.truth)
        if not models:
            return Difference.not_measurable(NO_SEED, n)
        first_SN, second_SN = self._inputs(metric, models), self._inputs(metric, references)
        if np.isnan(first_SN).any() or np.isnan(second_SN).any():
            return Difference.not_measurable(UNDETERMINED, n)
        return paired_difference(metric, self.truth, first_SN, second_SN, self.groups)

    def main_values(self, models: Sequence[TrainedModel]) -> tuple[float, ...]:
        """Return the main metric of each model; nothing if one has none."""
        metric = self.target.metrics[0]
        inputs_SN = self._inputs(metric, models)
        if np.isnan(inputs_SN).any():
            return ()
        found = [SINGLE[metric](self.truth, row, self.groups).value for row in inputs_SN]
        return tuple(value for value in found if value is not None) if None not in found else ()

    def _inputs(self, metric: MetricName, models: Sequence[TrainedModel]) -> Floats:
        """Return what `metric` compares with the truth, for each model: (S, n)."""
        outputs = [model.outputs[self.test.name] for model in models]
        return np.stack([metric_input(self.target, metric, output)[self.rows_N] for output in outputs])
