"""Section `transfer` of `metrics.json`: what diagnosis models learn from the samples, measured on real photographs.

`transfer.comparisons` builds it from the cells of the stage `transfer`; the report and the dataset card read it.
docs/transfer.md explains each number.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from synfundus.measures.difference import Difference
from synfundus.measures.measure import Measure
from synfundus.measures.metric_names import MetricName
from synfundus.metadata import Metadata

MAIN_METRICS: tuple[MetricName, ...] = ("auc", "quadratic_kappa")
"""Main metrics of targets: AUC of a binary one and of all labels together, quadratic kappa of the grade."""
TargetKind = Literal["all labels", "binary", "ordinal"]
Role = Literal["primary", "by target", "secondary"]
"""Families of a question in their order: what decides it, where the difference is, and what supports it."""
Verdict = Literal["better", "worse", "no difference shown", "not measurable"]


def family_role(kind: TargetKind, metric: MetricName) -> Role:
    """Return the role of the family that holds the differences of a metric of a target."""
    if kind == "all labels":
        return "primary"
    return "by target" if metric in MAIN_METRICS else "secondary"


class TransferArm(Metadata):
    """One way to train a model."""

    title: str
    """Name in plain words."""
    training: str
    """Training images of this arm's models, in one sentence."""


class TransferContrast(Metadata):
    """A planned comparison of two arms; it was fixed before any result was known."""

    arm: str
    """Name of the arm whose gain is asked for."""
    reference: str
    """Name of the arm that it is compared with."""
    question: str
    """Question that the difference answers."""


class TransferTestSet(Metadata):
    """Photographs on which every model was tested."""

    title: str
    """Name in plain words."""
    external: bool
    """True for another prepared dataset: no model was selected or calibrated on its source."""
    num_images: int
    num_patients: int


class TransferTarget(Metadata):
    """Target on which models are tested: a label, the grade, or all labels together."""

    title: str
    """Name in plain words."""
    kind: TargetKind
    """`all labels` is the mean over the measurable binary targets, the primary endpoint; `ordinal` is the grade, which
    is measured by quadratic kappa and by the share of exact grades."""


class TargetCounts(Metadata):
    """Photographs of one test set with an expert's label of one target."""

    test_set: str
    target: str
    num_labels: int
    """Binary targets in the mean of all labels together; 1 for a single target."""
    num_images: int
    """Photographs; of all labels together, with an expert's label of one target or more."""
    num_patients: int
    num_positive: int | None
    """Photographs with the finding; of the ordinal grade, of grade 1 or more; null for all labels together."""
    num_positive_patients: int | None
    """Patients with such a photograph; null for all labels together."""


class TrainingCounts(Metadata):
    """Training photographs at one fraction of the training patients."""

    fraction: float
    """Fraction of the training patients whose photographs are used, in (0, 1]."""
    num_patients: int
    min_images: int
    """Smallest number of photographs over the seeds, whose patients differ."""
    max_images: int
    """Largest number of photographs over the seeds."""


class ArmScore(Metadata):
    """Scores of one arm on one target and test set: means over the models of all seeds."""

    arm: str
    architecture: str
    """Name of the network in timm."""
    fraction: float | None
    """Fraction of the training patients whose photographs are used; null for an arm without photographs."""
    test_set: str
    target: str
    num_seeds: int
    """Models behind each mean."""
    measures: dict[MetricName, Measure]
    """Mean over the seeds with an interval that counts both patients and seeds as random."""
    main_by_seed: tuple[float, ...]
    """Main metric of each model, in the order of the seeds; empty if not measurable."""


class CorrectedDifference(Metadata):
    """Paired difference of one metric, arm minus reference, and what Holm's correction leaves of it."""

    difference: Difference
    """Mean over the seeds, on the same photographs, with an interval that counts patients and seeds as random; not
    corrected."""
    adjusted_p_value: float | None
    """P value after Holm's correction over its family; null if not measurable."""
    detectable: float | None
    """Smallest true difference that this comparison finds with 80 % power at the family's strictest level; null if not
    measurable, or if no possible difference is large enough."""
    verdict: Verdict
    """`better` or `worse` if the adjusted P value is below 0.05. `no difference shown` does not mean equal."""

    @property
    def survives(self) -> bool:
        """True if the difference is shown after the correction."""
        return self.verdict in ("better", "worse")


class ArmDifference(Metadata):
    """Differences of one planned comparison, for one network, fraction, target and test set."""

    contrast: str
    """Key of `contrasts`."""
    architecture: str
    fraction: float | None
    """Fraction of the training patients whose photographs are used; null if neither arm uses photographs."""
    test_set: str
    target: str
    num_seeds: int
    """Seeds of which both arms have a model."""
    metrics: dict[MetricName, CorrectedDifference]


class DetectableRange(Metadata):
    """Smallest and largest of the detectable differences of one metric in a family."""

    low: float
    high: float


class Family(Metadata):
    """Planned differences over which one correction of Holm runs.

    Each question has one primary family, the AUC of all labels together; one family by target, the AUC of each binary
    target and the kappa of the grade; and one family for each secondary metric.
    """

    contrast: str
    """Key of `contrasts`: the question."""
    role: Role
    metrics: tuple[MetricName, ...]
    num_planned: int
    """Differences of the plan, over all test sets, targets, networks and fractions of the training patients."""
    num_measured: int
    """Differences among them that are measurable; the correction runs over these."""
    num_better: int
    """Differences that survive the correction, in favour of the arm."""
    num_worse: int
    """Differences that survive the correction, in favour of the reference."""
    detectable: dict[MetricName, DetectableRange]
    """Range of the detectable differences, by metric."""
    num_undetectable: int
    """Measured differences that could not have been found at any possible size."""


class LearningCurve(Metadata):
    """Validation AUC of one model in training, of its last phase: after pre-training, if it has one."""

    arm: str
    architecture: str
    fraction: float | None
    seed: int
    steps: tuple[int, ...]
    """Steps after which the AUC was measured."""
    auc: tuple[float, ...]
    """Mean AUC over the labels on the validation split, at each of these steps."""


class Convergence(Metadata):
    """Steps until a model first reaches 95 % of a final validation AUC, for one planned comparison.

    Each tuple has one number for each seed of which both arms have a model.
    """

    contrast: str
    """Key of `contrasts`."""
    architecture: str
    fraction: float | None
    steps: tuple[int, ...]
    """Arm: steps to 95 % of its own final AUC."""
    reference_steps: tuple[int, ...]
    """Reference: steps to 95 % of its own final AUC."""
    steps_to_reference: tuple[int | None, ...]
    """Arm: steps to 95 % of the reference's final AUC; null if it never reaches that."""
    difference: Measure
    """Mean of `steps_to_reference` - `reference_steps` with Student's t interval over the seeds; n is their number.
    Below 0, the arm reaches the same AUC sooner. Not measurable if all seeds have the same difference."""


class ComputedTransfer(Metadata):
    """Comparison of models that were trained with and without the samples."""

    status: Literal["computed"] = "computed"
    arms: dict[str, TransferArm]
    contrasts: dict[str, TransferContrast]
    targets: dict[str, TransferTarget]
    test_sets: dict[str, TransferTestSet]
    architectures: tuple[str, ...]
    seeds: tuple[int, ...]
    training: tuple[TrainingCounts, ...]
    counts: tuple[TargetCounts, ...]
    scores: tuple[ArmScore, ...]
    differences: tuple[ArmDifference, ...]
    families: tuple[Family, ...]
    curves: tuple[LearningCurve, ...]
    convergence: tuple[Convergence, ...]
    notes: tuple[str, ...]
    """Everything that was not measured, with the reason; one line each."""

    def families_of(self, role: Role) -> dict[str, Family]:
        """Return the primary family of each question, or that by target, by the key of its comparison."""
        return {family.contrast: family for family in self.families if family.role == role}

    def num_measured(self, role: Role) -> int:
        """Return the measured differences of the families of a role, over all questions."""
        return sum(family.num_measured for family in self.families if family.role == role)

    def surviving(self, role: Role) -> Iterator[tuple[ArmDifference, MetricName]]:
        """Yield the differences that survive Holm's correction over the families of a role."""
        for entry in self.differences:
            for metric, found in entry.metrics.items():
                if found.survives and family_role(self.targets[entry.target].kind, metric) == role:
                    yield entry, metric

    def main_metric(self, target: str) -> MetricName:
        """Return the main metric of a target: AUC, or quadratic kappa for the grade."""
        return "quadratic_kappa" if self.targets[target].kind == "ordinal" else "auc"


class SkippedTransfer(Metadata):
    """No model was trained on the samples."""

    status: Literal["not computed"] = "not computed"
    reason: str
    """Reason why nothing was compared."""


Transfer = Annotated[ComputedTransfer | SkippedTransfer, Field(discriminator="status")]
