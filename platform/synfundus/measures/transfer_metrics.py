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

PRIMARY: tuple[MetricName, ...] = ("auc", "quadratic_kappa")
"""Primary metrics: AUC of a binary target, quadratic kappa of the grade."""
Verdict = Literal["better", "worse", "no difference shown", "not measurable"]


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
    """One thing to predict."""

    title: str
    """Name in plain words."""
    ordinal: bool
    """True for the grade, which is measured by quadratic kappa and by the share of exact grades."""


class TargetCounts(Metadata):
    """Photographs of one test set with an expert's label of one target."""

    test_set: str
    target: str
    num_images: int
    num_patients: int
    num_positive: int
    """Photographs with the finding; of the ordinal grade, of grade 1 or more."""
    num_positive_patients: int
    """Patients with such a photograph."""


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
    primary_by_seed: tuple[float, ...]
    """Primary metric of each model, in the order of the seeds; empty if not measurable."""


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
    """Planned differences over which one correction of Holm runs: those of one question and one metric.

    Both primary metrics share a family, so each question has one primary family.
    """

    contrast: str
    """Key of `contrasts`: the question."""
    role: Literal["primary", "secondary"]
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
    Below 0, the arm reaches the same AUC sooner."""


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

    @property
    def primary(self) -> dict[str, Family]:
        """The primary family of each question, by the key of its comparison."""
        return {family.contrast: family for family in self.families if family.role == "primary"}

    @property
    def num_measured(self) -> int:
        """Measured differences of a primary metric, over all questions."""
        return sum(family.num_measured for family in self.primary.values())

    def surviving(self) -> Iterator[tuple[ArmDifference, MetricName]]:
        """Yield the differences of a primary metric that survive Holm's correction."""
        for entry in self.differences:
            metric = self.primary_metric(entry.target)
            if entry.metrics[metric].survives:
                yield entry, metric

    def primary_metric(self, target: str) -> MetricName:
        """Return the primary metric of a target: AUC, or quadratic kappa for the grade."""
        return "quadratic_kappa" if self.targets[target].ordinal else "auc"


class SkippedTransfer(Metadata):
    """No model was trained on the samples."""

    status: Literal["not computed"] = "not computed"
    reason: str
    """Reason why nothing was compared."""


Transfer = Annotated[ComputedTransfer | SkippedTransfer, Field(discriminator="status")]
