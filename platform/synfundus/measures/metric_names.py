"""Names of the metrics by which networks are compared. Imports no scipy, so that records of them load fast."""

from typing import Literal

MetricName = Literal["auc", "average_precision", "accuracy", "precision", "recall", "f1", "quadratic_kappa", "ece"]
METRIC_NAMES: tuple[MetricName, ...] = (
    "auc", "average_precision", "accuracy", "precision", "recall", "f1", "quadratic_kappa", "ece",
)  # fmt: skip
