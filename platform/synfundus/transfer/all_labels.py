"""All binary targets of a test set together: the primary endpoint of a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synfundus.measures.difference import Difference
from synfundus.measures.inputs import Floats
from synfundus.measures.mean_auc import NO_LABEL, LabelledImages, mean_auc, mean_auc_difference
from synfundus.measures.measure import Measure
from synfundus.measures.metric_names import MetricName
from synfundus.measures.transfer_metrics import TargetCounts
from synfundus.transfer.targets import ALL_LABELS, TARGETS, Target, metric_input
from synfundus.transfer.tasks import NO_SEED, Task
from synfundus.transfer.trained import TestSet, TrainedModel


@dataclass(frozen=True)
class AllLabels:
    """The mean over the measurable binary targets of one test set; its only metric is the AUC."""

    test: TestSet
    tasks: tuple[Task, ...]
    """Measurable binary targets on the test set."""

    @classmethod
    def of(cls, test: TestSet, tasks: Sequence[Task]) -> "AllLabels":
        """Take the measurable binary targets among the tasks of a test set."""
        return cls(test, tuple(task for task in tasks if not task.target.ordinal and task.reason is None))

    @property
    def target(self) -> Target:
        return ALL_LABELS

    @property
    def reason(self) -> str | None:
        """Reason why nothing can be measured; None if something can."""
        return None if self.tasks else NO_LABEL

    @cached_property
    def images(self) -> LabelledImages:
        """Values of the targets, and which of them an expert stated."""
        known_NK = np.stack([task.rows_N for task in self.tasks], axis=1)
        y_NK = np.stack([task.target.truth(self.test.value_NV) > 0 for task in self.tasks], axis=1)
        return LabelledImages(y_NK, known_NK, self.test.patients)

    @property
    def num_images(self) -> int:
        """Photographs with an expert's value of one of the targets or more."""
        return self.images.num_images if self.tasks else 0

    @property
    def counts(self) -> TargetCounts:
        """Numbers of photographs and patients with an expert's value of one target or more."""
        labelled_N = self.images.known_NK.any(axis=1)
        return TargetCounts(
            test_set=self.test.name,
            target=self.target.name,
            num_labels=len(self.tasks),
            num_images=self.num_images,
            num_patients=len(np.unique(self.test.patients[labelled_N])),
            num_positive=None,
            num_positive_patients=None,
        )

    def score(self, metric: MetricName, models: Sequence[TrainedModel]) -> Measure:
        """Return the mean over targets and over the models of several seeds."""
        return mean_auc(self.images, self._scores(metric, models))

    def difference(
        self, metric: MetricName, models: Sequence[TrainedModel], references: Sequence[TrainedModel]
    ) -> Difference:
        """Return the mean difference over targets and over pairs of models with the same seeds."""
        if not models:
            return Difference.not_measurable(NO_SEED, self.num_images)
        return mean_auc_difference(self.images, self._scores(metric, models), self._scores(metric, references))

    def main_values(self, models: Sequence[TrainedModel]) -> tuple[float, ...]:
        """Return the mean over the targets for each model."""
        of_targets = np.array([task.main_values(models) for task in self.tasks])
        return tuple(of_targets.mean(axis=0).tolist())

    def _scores(self, metric: MetricName, models: Sequence[TrainedModel]) -> Floats:
        """Return the scores of each model on all photographs: (S, N, K)."""
        outputs = [model.outputs[self.test.name] for model in models]
        return np.stack(
            [np.stack([metric_input(task.target, metric, out) for task in self.tasks], axis=1) for out in outputs]
        )


AnyTask = Task | AllLabels
"""Target on one test set: a single one, or all labels together."""


def tasks_of(tests: Sequence[TestSet]) -> list[AnyTask]:
    """Return every target on every test set, all labels together first."""
    out: list[AnyTask] = []
    for test in tests:
        single = [Task.of(target, test) for target in TARGETS]
        out += [AllLabels.of(test, single), *single]
    return out
