"""Metrics of an annotator with plausible numbers."""

import numpy as np

from support.measure_example import UNUSABLE, measure
from synfundus.diagnosis.metrics import AnnotatorMetrics, HeadMetrics, SplitMetrics
from synfundus.diagnosis.operating_points import OperatingPoint
from synfundus.labels import HEAD_NAMES
from synfundus.measures.measure import Measure


def example_annotator_metrics(seed: int = 0) -> AnnotatorMetrics:
    """Return the metrics of an annotator with two unusable labels."""
    rng = np.random.default_rng(seed)
    reason = "training needs both classes, has 0 positive and 412 negative"

    def head(name: str) -> HeadMetrics:
        usable = name not in UNUSABLE
        unusable = Measure.not_measurable(f"unusable: {reason}", 400)
        measures = [measure(float(rng.uniform(0.6, 0.95)), 0.04, 400) if usable else unusable for _ in range(6)]
        return HeadMetrics(
            num_images=400,
            num_patients=200,
            num_positive=80 if usable else 0,
            auc=measures[0],
            average_precision=measures[1],
            sensitivity=measures[2],
            specificity=measures[3],
            ppv=measures[4],
            f1=measures[5],
            ece=measure(0.03, 0.01, 400) if usable else unusable,
        )

    def split() -> SplitMetrics:
        heads = {name: head(name) for name in HEAD_NAMES}
        return SplitMetrics(heads=heads, quadratic_kappa=measure(0.71, 0.05, 400))

    points = {
        name: OperatingPoint(rule="matched-prevalence", prevalence=0.2, threshold=0.31)
        for name in HEAD_NAMES
        if name not in UNUSABLE
    }
    return AnnotatorMetrics(
        unusable=dict.fromkeys(UNUSABLE, reason),
        unusable_heads=dict.fromkeys(UNUSABLE, reason),
        operating_points=points,
        unmet={},
        splits={"validation": split(), "test": split()},
    )
