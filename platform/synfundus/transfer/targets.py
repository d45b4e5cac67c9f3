"""Targets of a transfer: what the models are tested on, and how a model's output becomes each metric's input."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from synfundus.labels import HEAD_NAMES, HEADS, LABEL_NAMES, LABELS, FloatArray
from synfundus.measures.inputs import Floats
from synfundus.measures.metric_names import MetricName
from synfundus.measures.transfer_metrics import TargetKind
from synfundus.transfer.outputs import ModelOutputs

REFERABLE: Final = "dr_grade>=2"
"""Head of referable diabetic retinopathy."""
_METRICS: Final[dict[TargetKind, tuple[MetricName, ...]]] = {
    "all labels": ("auc",),
    "binary": ("auc", "average_precision", "accuracy", "precision", "recall", "f1", "ece"),
    "ordinal": ("quadratic_kappa", "accuracy"),
}


@dataclass(frozen=True)
class Target:
    """Target on which models are tested: a single one, or all labels together."""

    name: str
    title: str
    kind: TargetKind

    @property
    def metrics(self) -> tuple[MetricName, ...]:
        """Metrics of this target, the main one first."""
        return _METRICS[self.kind]


@dataclass(frozen=True)
class SingleTarget(Target):
    """One thing to predict: a binary label, referable diabetic retinopathy, or its grade."""

    label: str
    """Label whose experts' values are the truth."""

    @property
    def ordinal(self) -> bool:
        return self.kind == "ordinal"

    def labelled(self, expert_NK: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which images (N,) an expert labelled."""
        return np.asarray(expert_NK[:, LABEL_NAMES.index(self.label)])

    def truth(self, value_NV: FloatArray) -> NDArray[np.int64]:
        """Return the labels (N,) from the values of the heads (N, 19): 0 or 1, or the grade 0 to 4."""
        columns_N = value_NV[:, HEADS[self.label]] if self.ordinal else value_NV[:, [HEAD_NAMES.index(self.name)]]
        return np.asarray(columns_N.sum(axis=1).round(), np.int64)


ALL_LABELS: Final = Target("all_labels", "All labels together", "all labels")
"""Mean over the measurable binary targets; the primary endpoint."""
TARGETS: Final[tuple[SingleTarget, ...]] = (
    SingleTarget(REFERABLE, "Referable diabetic retinopathy (grade ≥ 2)", "binary", "dr_grade"),
    SingleTarget("dr_grade", LABELS[0].title, "ordinal", "dr_grade"),
    *(SingleTarget(label.name, label.title, "binary", label.name) for label in LABELS[1:]),
)
"""All single targets, in the order of the report."""


def metric_input(target: SingleTarget, metric: MetricName, outputs: ModelOutputs) -> Floats:
    """Return what a metric compares with the truth, (N,): score, probability or decision. NaN if there is none.

    A grade is the number of its heads that are decided 1; a head that validation does not determine counts as 0.
    """
    if target.ordinal:
        decided_N4 = outputs.decision_NV[:, HEADS[target.label]]
        grade_N = np.nansum(decided_N4, axis=1)
        return np.where(np.isnan(decided_N4).all(axis=1), np.nan, grade_N).astype(np.float64)
    by_rank = metric in ("auc", "average_precision")
    source_NV = outputs.logit_NV if by_rank else outputs.probability_NV if metric == "ece" else outputs.decision_NV
    return np.asarray(source_NV[:, HEAD_NAMES.index(target.name)], np.float64)
