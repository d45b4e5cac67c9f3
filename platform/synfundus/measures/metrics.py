"""The typed content of a report's `metrics.json`.

docs/evaluation.md explains it and docs/metrics.schema.json is its schema. `evaluation` builds it; the report, the
dataset card and the summary of the stage read it.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from synfundus.measures.copies import CopyDetectorMetrics
from synfundus.measures.diversity_metrics import Diversity
from synfundus.measures.judge_metrics import Judge, Sensitivity
from synfundus.measures.measure import Measure
from synfundus.measures.privacy import PrivacyAudit, PrivacyVerdict
from synfundus.measures.transfer_metrics import Transfer
from synfundus.metadata import Metadata

Better = Literal["lower", "higher"]
StratumKind = Literal["overall", "disease", "grade", "group"]
MeasureName = Literal["kid", "precision", "recall", "density", "coverage", "frechet_distance"]
MEASURE_NAMES: tuple[MeasureName, ...] = ("kid", "precision", "recall", "density", "coverage", "frechet_distance")


class ProtocolSettings(Metadata):
    """Settings of the evaluation that its numbers depend on."""

    max_images: int
    """Largest number of images of each set whose features are compared."""
    min_images: int
    """Smallest number of images of each set for which a comparison is measurable."""
    num_neighbours: int
    """Number of the nearest neighbour that bounds a neighbourhood."""
    seed: int
    """Seed of the choice of images, the jackknife's groups and the permutation."""
    attack_max_images: int
    """Largest number of training photographs, and of held-out photographs, in the attack on the generator's weights."""
    reference_generators: tuple[str, ...]
    """Generators that calibrate the attack on the generator's weights."""


class SetCounts(Metadata):
    """Size of one set of images."""

    num_images: int
    """Images of the set."""
    num_used: int
    """Images of the set whose features are compared, at most `max_images`."""
    num_patients: int | None
    """Patients of the set; null for samples."""


class Counts(Metadata):
    """Sizes of the three sets."""

    reference: SetCounts
    """Training photographs."""
    held_out: SetCounts
    """Photographs of the validation and test splits."""
    synthetic: SetCounts
    """Accepted samples."""


class ValueCounts(Metadata):
    """Number of images with each value of a label, in one set."""

    counts: tuple[int, ...]
    """Number of images with each value, in the order of `values`."""
    num_unknown: int
    """Images whose value is not known."""


class ExpectedCounts(Metadata):
    """Expected number of images with each value, where filled labels count with their probability."""

    counts: tuple[float, ...]
    """Sum of the probabilities of each value, in the order of `values`; three decimals."""
    num_unknown: int
    """Images without an expert's or a filled value."""


class LabelDistribution(Metadata):
    """Number of images with each value of one label, in photographs, requests and predictions."""

    values: tuple[int, ...]
    """Values of the label: 0 and 1, or 0 to 4 for the grade."""
    reference_expert: ValueCounts
    """Experts' labels of the training photographs."""
    reference_known: ExpectedCounts
    """Experts' and filled labels of the training photographs."""
    held_out_expert: ValueCounts
    """Experts' labels of the held-out photographs."""
    requested: ValueCounts
    """Conditions of the samples."""
    predicted: ValueCounts
    """Annotations of the samples."""


class MeasureText(Metadata):
    """Explanation of one measure of fidelity."""

    title: str
    """Name in plain words."""
    better: Better
    """Direction in which the measure improves."""
    meaning: str
    """Meaning in one sentence or two."""


class StratumText(Metadata):
    """Explanation of one stratum: a group of images that is compared on its own."""

    title: str
    """Name in plain words."""
    label: str | None
    """The one label that decides membership; null for all images and for groups of several labels."""
    kind: StratumKind


class GroupText(Metadata):
    """Explanation of a group of diseases."""

    title: str
    """Name in plain words."""
    diseases: dict[str, str]
    """Reason why each disease label is in the group."""


class FidelityMeasures(Metadata):
    """The six measures of one set of images against the reference; of `difference`, synthetic minus held-out."""

    kid: Measure
    """Kernel distance (unbiased squared MMD), 0 on average for equal distributions; lower is better."""
    precision: Measure
    """Share of the images within a neighbourhood of the reference, 0 to 1; higher is better."""
    recall: Measure
    """Share of the reference within a neighbourhood of the images, 0 to 1; higher is better."""
    density: Measure
    """Mean number of reference neighbourhoods around an image over k, 0 or more; higher is better."""
    coverage: Measure
    """Share of the reference whose neighbourhood holds an image, 0 to 1; higher is better."""
    frechet_distance: Measure
    """Squared Fréchet distance, 0 or more; lower is better. Not measurable at small n, which rewards less variety."""

    def items(self) -> Iterator[tuple[MeasureName, Measure]]:
        """Yield name and measure in a fixed order."""
        for name in MEASURE_NAMES:
            yield name, self[name]

    def __getitem__(self, name: MeasureName) -> Measure:
        measure: Measure = getattr(self, name)
        return measure

    @classmethod
    def not_measurable(cls, not_measurable: Measure) -> "FidelityMeasures":
        """Return six times the same reason."""
        return cls.model_validate(dict.fromkeys(MEASURE_NAMES, not_measurable))


class Comparison(Metadata):
    """Held-out photographs and samples, each compared with the same reference at the same n."""

    n: int
    """Images of each of the three sets."""
    effective_dimension: float | None
    """Effective dimension of the reference's features; null if nothing is measurable."""
    held_out: FidelityMeasures
    synthetic: FidelityMeasures
    difference: FidelityMeasures
    """Synthetic minus held-out."""


class Landmark(Metadata):
    """Kernel distance (KID) from the held-out photographs, of samples and of rendered phantoms."""

    n: int
    """Images of each set."""
    synthetic: Measure
    phantoms: Measure


class ExtrapolationPoint(Metadata):
    """Fréchet distances from the reference at one number of images."""

    n: int
    """Images of each of the three sets."""
    held_out: float
    """Mean distance over subsets of n images."""
    synthetic: float


class Extrapolation(Metadata):
    """Fréchet distances of all images at an unlimited number of images, from a line in 1 / n."""

    points: tuple[ExtrapolationPoint, ...]
    """Points of the line, largest n first; none if not measurable."""
    held_out: Measure
    """The line's value at 1 / n = 0. It may be slightly negative."""
    synthetic: Measure
    difference: Measure
    """Synthetic minus held-out."""


class ComputedSpace(Metadata):
    """Fidelity in one feature space."""

    title: str
    """Name in plain words."""
    status: Literal["computed"] = "computed"
    dim: int
    """Number of features."""
    strata: dict[str, Comparison]
    """Comparison of each stratum, by the keys of `Fidelity.strata`."""
    extrapolation: Extrapolation
    """Fréchet distances of all images at an unlimited number of images."""
    landmark: Landmark | None = None
    """Null if the study's own photographs are phantoms."""


class SkippedSpace(Metadata):
    """A feature space that was not computed."""

    title: str
    """Name in plain words."""
    status: Literal["not computed"] = "not computed"
    reason: str
    """Reason why the space was not computed."""


FeatureSpace = Annotated[ComputedSpace | SkippedSpace, Field(discriminator="status")]


class Fidelity(Metadata):
    """Similarity of samples to photographs, in each feature space, for each stratum."""

    measures: dict[MeasureName, MeasureText]
    strata: dict[str, StratumText]
    groups: dict[str, GroupText]
    spaces: dict[str, FeatureSpace]
    """Spaces `judge`, `annotator`, those of `evaluation.encoders`, and `inception`. The first computed one, in this
    order, gives the main results."""

    @property
    def ordered_spaces(self) -> list[FeatureSpace]:
        """All spaces: the judge's, the annotator's, those of encoders by name, Inception's. JSON keeps no order."""
        places = {"judge": 0, "annotator": 1, "inception": 3}
        return [self.spaces[name] for name in sorted(self.spaces, key=lambda name: (places.get(name, 2), name))]

    @property
    def computed_spaces(self) -> list[ComputedSpace]:
        """Spaces with numbers, in order; the first one gives the main results."""
        return [space for space in self.ordered_spaces if isinstance(space, ComputedSpace)]


class Octave(Metadata):
    """Power of held-out photographs and of samples in one octave of spatial frequency."""

    low: float
    """Lowest frequency, in cycles per image side."""
    high: float
    """Frequency at which the octave ends, in cycles per image side."""
    held_out: float | None
    """Mean power of the held-out photographs, in squared grey levels (0 to 255); null without an image."""
    synthetic: float | None
    """Mean power of the samples."""
    ratio: Measure
    """Synthetic over held-out: 1 for equal power, less than 1 for lost detail, more than 1 for noise."""

    @property
    def title(self) -> str:
        """`16 to 32 cycles per image side`."""
        return f"{self.low:g} to {self.high:g} cycles per image side"


class PowerSpectrum(Metadata):
    """Radial power spectrum of the chosen samples, compared with that of the chosen held-out photographs."""

    octaves: tuple[Octave, ...]
    """Octaves from coarse to fine; the last one ends at the Nyquist frequency. Empty for images of fewer than 8 px."""

    @property
    def top(self) -> Octave | None:
        """Octave of the finest detail."""
        return self.octaves[-1] if self.octaves else None


class RocCurve(Metadata):
    """ROC curve at 101 evenly spaced false positive rates, with its 95 % band; all numbers lie in [0, 1]."""

    false_positive_rate: tuple[float, ...]
    sensitivity: tuple[float, ...]
    low: tuple[float, ...]
    """Lower edge of the band at each rate."""
    high: tuple[float, ...]
    """Upper edge of the band at each rate."""


class LabelConsistency(Metadata):
    """Agreement of a grader's predictions on samples with the requested values of one label."""

    title: str
    """Name in plain words."""
    kind: str
    """Kind of the label, such as `disease` or `readability`."""
    statistic: Literal["auc", "quadratic_kappa"]
    """Statistic of `requested` and `permuted`: AUC of the probability, or quadratic kappa of the grade."""
    num_requested: tuple[int, ...]
    """Samples requested with each value."""
    num_predicted: tuple[int, ...]
    """Samples with a request that are annotated with each value."""
    requested: Measure
    """The statistic of the predictions against the requests."""
    permuted: Measure
    """The same statistic after the requests were permuted among the samples: chance."""
    beats_permuted: bool | None
    """True if the interval of `requested` lies above that of `permuted`; null if one of them is not measurable."""
    agreement: Measure
    """Share of the samples whose annotation equals the request, 0 to 1. A missing annotation does not agree."""
    agreement_permuted: Measure
    """The same share after the requests were permuted."""
    confusion: tuple[tuple[int, ...], ...]
    """Number of samples by requested value (row) and predicted value (column)."""
    roc: RocCurve | None
    """Null for the grade, and for a label that is not measurable."""


class Consistency(Metadata):
    """Agreement of samples with their requests, for each label."""

    permutation_seed: int
    labels: dict[str, LabelConsistency]
    """One entry for each of the 16 labels."""

    @property
    def followed(self) -> list[str]:
        """Labels whose requests beat permuted ones."""
        return [name for name, entry in self.labels.items() if entry.beats_permuted]

    @property
    def not_measurable(self) -> list[str]:
        """Labels whose requests cannot be compared with permuted ones."""
        return [name for name, entry in self.labels.items() if entry.beats_permuted is None]


class RatioHistogram(Metadata):
    """Distance ratios to the training photographs."""

    bin_edges: tuple[float, ...]
    """Edges of the bins, one more than there are counts."""
    held_out: tuple[int, ...]
    """Held-out photographs in each bin."""
    synthetic: tuple[int, ...]
    """Samples in each bin."""


class ClosestPair(Metadata):
    """A sample and its nearest training photograph. Private: the public edition of the report has none."""

    sample_id: int
    training_image_id: str
    distance_ratio: float
    """Distance to this photograph over that to the nearest one of another patient: 0 for a copy, at most 1."""
    mirrored: bool
    """The photograph is nearest when mirrored."""
    below_threshold: bool


class MeasuredPrivacy(Metadata):
    """Distance ratio of samples to the training photographs: 0 for a copy, near 1 for an image of somebody else."""

    status: Literal["measured"] = "measured"
    num_training: int
    """Training photographs that were searched, all of them."""
    num_held_out: int
    """Held-out photographs whose ratios the histogram shows."""
    num_synthetic: int
    """Accepted samples that were compared again here."""
    space: str
    """Space of the distances."""
    threshold: float
    """Distance ratio below which a sample is rejected, in [0, 1]; set on validation photographs."""
    expected_rate: float
    """Share of photographs of other people that are expected to lie below the threshold, 0 to 1."""
    num_validation: int
    """Validation photographs behind the threshold and the expected share."""
    detector: CopyDetectorMetrics
    """Shares of altered copies that the copy detector finds, and of photographs that it rejects falsely."""
    num_sampled: int
    """Samples over all attempts, accepted or not."""
    num_near: int
    """Samples among `num_sampled` that were rejected because their ratio lies below the threshold."""
    share_near: Measure
    """`num_near` of `num_sampled`."""
    share_near_upper_bound: float
    """95 % upper bound of that share, 0 to 1; about 3 / n if there is none."""
    num_below: int
    """Accepted samples compared again here whose ratio lies below the threshold."""
    ratios: RatioHistogram
    closest: tuple[ClosestPair, ...] = ()
    """Closest pairs, nearest first. Private."""


class UnmeasuredPrivacy(Metadata):
    """Nearness that could not be measured, because a set of images is empty."""

    status: Literal["not measurable"] = "not measurable"
    reason: str
    """Sentence that names the empty sets."""
    num_training: int
    num_held_out: int
    num_synthetic: int


Privacy = Annotated[MeasuredPrivacy | UnmeasuredPrivacy, Field(discriminator="status")]


class EvaluationMetrics(Metadata):
    """Content of a report's `metrics.json`."""

    version: Literal[1] = 1
    """Schema of this record."""
    config: ProtocolSettings
    counts: Counts
    label_distributions: dict[str, LabelDistribution]
    """One entry for each of the 16 labels."""
    fidelity: Fidelity
    spectrum: PowerSpectrum
    diversity: Diversity
    judge: Judge
    """The model that grades the samples."""
    consistency: Consistency
    """Agreement of the judge's predictions with the requests; of the annotator's if there is no independent judge."""
    annotator_consistency: Consistency | None
    """Agreement of the annotator's predictions, beside those of an independent judge; null if there is none."""
    sensitivity: Sensitivity
    """Clearness of each disease to the judge, on samples and on held-out photographs."""
    transfer: Transfer
    privacy: Privacy
    audit: PrivacyAudit
    """Results of attacks on the samples and on the generator's weights."""
    verdict: PrivacyVerdict
    """Verdict of the privacy gate, which `publish` obeys."""
    notes: tuple[str, ...]
    """Everything that was not measured, with the reason; one line each."""
