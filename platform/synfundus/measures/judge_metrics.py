"""The part of `metrics.json` about the judge: which model grades the samples, and how well findings show on them."""

from typing import Annotated, Literal

from pydantic import Field

from synfundus.measures.measure import Measure
from synfundus.metadata import Metadata


class IndependentJudge(Metadata):
    """A grader trained on photographs of patients that neither annotator nor generator was trained on."""

    status: Literal["independent"] = "independent"
    digest: str
    """SHA-256 over everything that decides the judge's probabilities."""
    architecture: str
    """Name of the network in timm's registry."""
    num_images: int
    """Photographs of the split `judge`."""
    num_patients: int
    """Patients of these photographs."""
    num_samples: int
    """Accepted samples that the judge graded."""
    unusable: dict[str, str]
    """Labels that the judge cannot predict, with the reason."""
    test_scores: dict[str, Measure]
    """AUC of each label on test photographs, against experts' labels; quadratic kappa for `dr_grade`."""


class TeacherAsJudge(Metadata):
    """The annotator, which filled labels for the generator, also grades the samples: judge and teacher are one."""

    status: Literal["teacher"] = "teacher"
    reason: str
    """Reason why there is no independent judge."""


Judge = Annotated[IndependentJudge | TeacherAsJudge, Field(discriminator="status")]


class SensitivityComparison(Metadata):
    """Sensitivity to one disease on held-out photographs and on samples, each set at the same specificity."""

    title: str
    """Name in plain words."""
    num_positive: int
    """Images with the finding in each set; of samples, those requested with it."""
    num_negative: int
    """Images without the finding in each set, which set the threshold."""
    photographs: Measure
    """Share of the photographs with the finding whose score lies above the threshold."""
    samples: Measure
    """The same share of the samples."""
    difference: Measure
    """Samples minus photographs: below 0, the finding shows less clearly on samples."""


class GroupSensitivity(Metadata):
    """Mean sensitivity over the measurable diseases of a group."""

    title: str
    """Name in plain words."""
    diseases: tuple[str, ...]
    """Labels behind the mean."""
    photographs: Measure
    samples: Measure
    difference: Measure
    """Samples minus photographs."""


class Sensitivity(Metadata):
    """Clearness of each disease on samples, compared with held-out photographs: do subtle changes get lost?"""

    specificity: float
    """Smallest specificity in each set, 0 to 1; it fixes the threshold of that set."""
    diseases: dict[str, SensitivityComparison]
    """One entry for each of the eleven diseases; `dr_grade` means grade 1 or more."""
    groups: dict[str, GroupSensitivity]
    """Groups `subtle` and `widespread`."""
    contrast: Measure
    """Difference of the subtle changes minus difference of the widespread ones: below 0, subtle changes get lost."""
