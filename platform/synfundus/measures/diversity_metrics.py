"""The part of a report's `metrics.json` that says how varied the samples are: its section `diversity`.

docs/evaluation.md explains it. `evaluation` builds it, and the report shows it.
"""

from typing import Literal

from synfundus.measures.measure import Measure
from synfundus.metadata import Metadata

AnatomyName = Literal["disc_offset", "disc_height", "disc_diameter", "cup_to_disc", "vessel_density", "field"]
ANATOMY_MEASURES: tuple[AnatomyName, ...] = (
    "disc_offset",
    "disc_height",
    "disc_diameter",
    "cup_to_disc",
    "vessel_density",
    "field",
)


class VendiComparison(Metadata):
    """Vendi score of samples and of held-out photographs: the effective number of different images among n."""

    n: int
    """Images of each set. The score grows with n, so only sets of the same n are compared."""
    held_out: Measure
    synthetic: Measure
    ratio: Measure
    """Synthetic over held-out: 1 for equal variety, less than 1 for less of it."""


class ClosePair(Metadata):
    """Two samples that lie nearer to each other than most photographs do."""

    sample_ids: tuple[int, int]
    distance: float


class NearestOther(Metadata):
    """Distance of each image to the nearest other image of its own set, in one space."""

    n: int
    """Images of each set."""
    quantile: float
    """Share of the held-out photographs that lie nearer to a photograph of another patient than the threshold."""
    threshold: float | None
    """Distance below which two images are twins; null if not measurable."""
    twins: Measure
    """Share of the samples with a twin among the other samples, 0 to 1. `quantile` is as varied as photographs."""
    median_ratio: Measure
    """Median distance to the nearest other image: samples over photographs."""
    closest: tuple[ClosePair, ...] = ()
    """Closest pairs of samples, nearest first."""


class FindingCombination(Metadata):
    """A combination of findings that images have together."""

    findings: tuple[str, ...]
    """Titles of the findings; empty for an image without one."""
    num_photographs: int
    """Training photographs with exactly this combination, by experts' labels."""
    num_patients: int
    """Patients of these photographs."""
    num_requested: int
    """Samples requested with it."""
    num_annotated: int
    """Samples annotated with it."""


class CombinationCoverage(Metadata):
    """Combinations of findings that occur in photographs and in samples."""

    n: int
    """Training photographs and samples whose combinations are compared with those of held-out photographs."""
    by_training: Measure
    """Share of the held-out photographs whose combination occurs among n training photographs, 0 to 1."""
    by_requests: Measure
    """Share of the held-out photographs whose combination occurs among the requests of n samples."""
    by_annotations: Measure
    """Share of the held-out photographs whose combination occurs among the annotations of n samples."""
    num_combinations: int
    """Different combinations among all training photographs."""
    num_requested: int
    """Combinations among them with at least one sample requested."""
    num_annotated: int
    """Combinations among them with at least one sample annotated."""
    min_patients: int
    """Smallest number of patients of a combination that is named."""
    num_unnamed: int
    """Combinations among them that are not named, because fewer patients share them."""
    rarest: tuple[FindingCombination, ...]
    """The rarest named combinations, rarest first."""


class AnatomyError(Metadata):
    """Error of one measure of anatomy on rendered phantoms, whose anatomy is known."""

    size_px: int
    """Side of the phantoms: the largest tested size that is not larger than the images."""
    median_error: float
    """Median absolute error, in the measure's unit."""
    rank_correlation: float
    """Spearman's correlation of measured and true values."""
    found: float
    """Share of the phantoms in which it was found."""


class AnatomyDistribution(Metadata):
    """Values of one measure of anatomy in one set of images."""

    num_images: int
    """Images that are compared."""
    found: Measure
    """Share of them in which the structure was found."""
    quantiles: tuple[float, ...]
    """The 5th, 25th, 50th, 75th and 95th percentile of the values found; empty without a value."""


class AnatomyComparison(Metadata):
    """One measure of anatomy in held-out photographs and in samples."""

    title: str
    unit: str
    left_out: dict[str, int]
    """Images are left out if a disease label is known to have at least this value, or a readability label to be 0:
    such a finding changes or hides the structure."""
    error: AnatomyError | None
    """Error on phantoms; null if the images are smaller than the smallest tested size."""
    held_out: AnatomyDistribution
    synthetic: AnatomyDistribution
    difference: Measure
    """Mean of the samples minus mean of the photographs, in the measure's unit."""
    distance: float | None
    """Kolmogorov-Smirnov distance of both distributions, 0 to 1; null if not measurable."""
    p_value: float | None
    """P value of that distance, on one image of each patient; null if not measurable."""
    p_adjusted: float | None
    """The same after Holm's correction over the measurable measures of anatomy."""

    @property
    def differs(self) -> bool | None:
        """True if the difference is significant at 5 % after the correction; None if not measurable."""
        return None if self.p_adjusted is None else self.p_adjusted < 0.05


class RequestedFinding(Metadata):
    """Presence of one finding in samples of a study of phantoms, by a detector with known error rates."""

    title: str
    diameter: float
    """Median diameter of the finding's marks, in diameters of the field of view."""
    diameter_px: float
    """The same in pixels of the images."""
    sensitivity: Measure
    """Share of rendered phantoms with the finding in which the detector finds it."""
    specificity: Measure
    """Share of rendered phantoms without it in which the detector does not find it."""
    detected: Measure
    """Share of the samples requested with it in which the detector finds it."""
    detected_without: Measure
    """Share of the samples requested without it in which the detector finds it."""
    present: Measure
    """`detected`, corrected for sensitivity and specificity: the rate at which the requested finding is there."""
    present_without: Measure
    """`detected_without`, corrected likewise: the rate at which a finding is there that was requested to be absent."""


class RequestedFindings(Metadata):
    """Presence of requested findings in the samples of a study of phantoms."""

    num_training_phantoms: int
    """Rendered phantoms on which the detector was trained."""
    num_test_phantoms: int
    """Other rendered phantoms on which its sensitivity and specificity were measured."""
    findings: dict[str, RequestedFinding]
    """Findings by head of the labels, such as `is_gc` or `dr_grade>=2`; smallest finding first."""


class Diversity(Metadata):
    """Variety of the samples beside that of held-out photographs."""

    vendi: dict[str, VendiComparison]
    """Vendi scores by feature space."""
    nearest_other: dict[str, NearestOther]
    """Distances between images of one set, by space; `copies` is the space in which copies are searched."""
    combinations: CombinationCoverage
    anatomy: dict[AnatomyName, AnatomyComparison]
    requested_findings: RequestedFindings | None
    """Null if not measured."""
    findings_reason: str | None = None
    """Why the presence of requested findings was not measured; null if it was."""
