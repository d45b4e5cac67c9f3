"""The annotator's `metrics.json`: every measure per split and head, with its 95 % interval and n."""

from typing import Literal

from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.measures.measure import Measure
from synfundus.metadata import Metadata
from synfundus.storage import METRICS, Storage, read_manifest, read_record


class HeadMetrics(Metadata):
    """Measures of one of the 19 heads on one split.

    An unusable head has AUC and average precision only: it annotates nothing that could be counted.
    """

    num_images: int
    """Images with an expert's label."""
    num_patients: int
    num_positive: int
    """Images of the positive class."""
    auc: Measure
    average_precision: Measure
    sensitivity: Measure
    specificity: Measure
    f1: Measure
    ece: Measure
    """Expected calibration error."""


class SplitMetrics(Metadata):
    """Measures on one split."""

    heads: dict[str, HeadMetrics]
    """Measures of each head in `labels.HEAD_NAMES`; a binary label has one head, with its name."""
    quadratic_kappa: Measure
    """Agreement of the annotated DR grades with the experts' grades."""


class AnnotatorMetrics(Metadata):
    """`metrics.json` of an annotator."""

    version: Literal[1] = 1
    """Schema of this record."""
    unusable: dict[str, str]
    """Unusable labels, each with the reason."""
    unusable_heads: dict[str, str]
    """Unusable heads, each with the reason."""
    splits: dict[str, SplitMetrics]
    """Measures on the splits `validation` and `test`."""
    fresh_tensors: tuple[str, ...] | None = None
    """Tensors that did not start from the weights of `init_from`; None without `init_from`."""


def read_annotator_metrics(storage: Storage, folder: str) -> AnnotatorMetrics:
    """Return the metrics of the complete annotator in `folder`.

    Raises:
        WrongInputError: the folder is not complete or holds no annotator.
        StorageError: the file differs from its manifest.
    """
    manifest = read_manifest(storage, folder, AnnotatorManifest)
    return read_record(storage, folder, METRICS, manifest, AnnotatorMetrics)
