"""Measures of the annotator, per split and head, each with its 95 % interval and n.

The stored part, `metrics.json`, is `AnnotatorScores`: what needs no operating point. `decisions` completes it to
`AnnotatorMetrics` at the operating points of a study, from `held_out.parquet`.
"""

from typing import Literal

from synfundus.diagnosis.operating_points import OperatingPoint
from synfundus.measures.measure import Measure
from synfundus.metadata import Metadata


class HeadScores(Metadata):
    """Measures of the scores of one of the 19 heads on one split."""

    num_images: int
    """Images with an expert's label."""
    num_patients: int
    num_positive: int
    """Images of the positive class."""
    auc: Measure
    average_precision: Measure
    ece: Measure
    """Expected calibration error; not measurable for an unusable head."""


class HeadMetrics(HeadScores):
    """Measures of one of the 19 heads on one split, at its operating point.

    The decision of `dr_grade>=k` is an annotated grade of k or more. A label that is annotated null has AUC, average
    precision and calibration error only.
    """

    sensitivity: Measure
    specificity: Measure
    ppv: Measure
    """Positive predictive value at the prevalence that the operating point assumes."""
    f1: Measure


class SplitScores(Metadata):
    """Measures of the scores on one split."""

    heads: dict[str, HeadScores]
    """Measures of each head in `labels.HEAD_NAMES`; a binary label has one head, with its name."""


class SplitMetrics(Metadata):
    """Measures on one split at the operating points."""

    heads: dict[str, HeadMetrics]
    """Measures of each head in `labels.HEAD_NAMES`."""
    quadratic_kappa: Measure
    """Agreement of the annotated DR grades with the experts' grades."""


class AnnotatorScores(Metadata):
    """`metrics.json` of an annotator."""

    version: Literal[1] = 1
    """Schema of this record."""
    unusable: dict[str, str]
    """Unusable labels, each with the reason."""
    unusable_heads: dict[str, str]
    """Unusable heads, each with the reason."""
    splits: dict[str, SplitScores]
    """Measures on the splits `validation` and `test`."""
    fresh_tensors: tuple[str, ...] | None = None
    """Tensors that did not start from the weights of `init_from`; None without `init_from`."""


class AnnotatorMetrics(Metadata):
    """Measures of an annotator at the operating points of a study."""

    unusable: dict[str, str]
    """Unusable labels, each with the reason."""
    unusable_heads: dict[str, str]
    """Unusable heads, each with the reason."""
    operating_points: dict[str, OperatingPoint]
    """Operating point of each head of a usable label."""
    unmet: dict[str, str]
    """Usable labels without an operating point, each with the reason; they are annotated null."""
    splits: dict[str, SplitMetrics]
    """Measures on the splits `validation` and `test`."""
    fresh_tensors: tuple[str, ...] | None = None
    """Tensors that did not start from the weights of `init_from`; None without `init_from`."""
