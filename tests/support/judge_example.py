"""An independent judge, and its sensitivities, with plausible numbers."""

import numpy as np

from support.measure_example import UNUSABLE, UNUSABLE_REASON, measure
from synfundus.evaluation.strata import GROUPS
from synfundus.labels import DISEASES, LABEL_BY_NAME, LABEL_NAMES
from synfundus.measures.judge_metrics import GroupSensitivity, IndependentJudge, Sensitivity, SensitivityComparison
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import EvaluationMetrics


def _sensitivity(num_positive: int) -> tuple[Measure, Measure, Measure]:
    return (
        measure(0.8, 0.1, num_positive),
        measure(0.6, 0.1, num_positive),
        Measure.measured(-0.2, -0.34, -0.06, num_positive),
    )


def example_sensitivity() -> Sensitivity:
    """Return sensitivities of 0.8 on photographs and 0.6 on samples; those of unusable labels are not measurable."""
    unusable = Measure.not_measurable(UNUSABLE_REASON, 0)
    diseases = {}
    for name in DISEASES:
        photographs, samples, difference = (unusable,) * 3 if name in UNUSABLE else _sensitivity(40)
        diseases[name] = SensitivityComparison(
            title=LABEL_BY_NAME[name].title,
            num_positive=photographs.n,
            num_negative=300,
            photographs=photographs,
            samples=samples,
            difference=difference,
        )
    groups = {}
    for key, group in GROUPS.items():
        photographs, samples, difference = _sensitivity(80)
        groups[key] = GroupSensitivity(
            title=group.title,
            diseases=tuple(name for name in group.diseases if name not in UNUSABLE),
            photographs=photographs,
            samples=samples,
            difference=difference,
        )
    return Sensitivity(specificity=0.9, diseases=diseases, groups=groups, contrast=Measure.measured(0.0, -0.2, 0.2, 80))


def example_judge(seed: int = 0) -> IndependentJudge:
    """Return what is known of an independent judge with two unusable labels."""
    rng = np.random.default_rng(seed)
    reason = Measure.not_measurable("needs both classes, has 0 positive and 400 negative", 400)
    scores = {
        name: reason if name in UNUSABLE else measure(float(rng.uniform(0.6, 0.9)), 0.05, 400) for name in LABEL_NAMES
    }
    return IndependentJudge(
        digest="cd" * 32,
        architecture="resnet10t",
        num_images=412,
        num_patients=206,
        num_samples=800,
        unusable=dict.fromkeys(UNUSABLE, UNUSABLE_REASON),
        test_scores=scores,
    )


def judged(metrics: EvaluationMetrics) -> EvaluationMetrics:
    """Return the same metrics with an independent judge; the annotator's agreement stands beside the judge's."""
    return metrics.model_copy(update={"judge": example_judge(), "annotator_consistency": metrics.consistency})
