"""Results that depend on who grades the samples: agreement with the requests, and sensitivity."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from synfundus.diagnosis.held_out import Predictions
from synfundus.evaluation.consistency import measure_consistency
from synfundus.evaluation.image_sets import Samples
from synfundus.evaluation.sensitivity import compare_sensitivities
from synfundus.labels import LABEL_BY_NAME
from synfundus.measures.judge_metrics import Judge, Sensitivity
from synfundus.measures.metrics import Consistency


@dataclass(frozen=True)
class Grader:
    """A model that predicts the labels of samples."""

    unusable: Mapping[str, str]
    """Unusable labels, with the reason."""
    held_out: Mapping[str, Predictions]
    """Its logits of the held-out photographs, with experts' labels, by split."""


@dataclass(frozen=True)
class Graders:
    """The annotator and, if there is one, the independent judge, whose predictions the samples hold."""

    annotator: Grader
    judge: Grader | None
    facts: Judge
    """Description of the judge for the report."""


@dataclass(frozen=True)
class Graded:
    """Results that depend on who grades the samples."""

    unusable: Mapping[str, str]
    """Labels that the grader cannot predict, with the reason."""
    consistency: Consistency
    annotator_consistency: Consistency | None
    """The annotator's agreement with the requests, beside that of an independent judge; None if there is none."""
    sensitivity: Sensitivity

    def notes(self) -> Iterator[str]:
        """Yield what was not measured, and why, one line each."""
        for name, entry in self.consistency.labels.items():
            if not entry.requested.measurable:
                reason = f"unusable: {self.unusable[name]}" if name in self.unusable else entry.requested.reason
                yield f"{LABEL_BY_NAME[name].title}, agreement with the request: {reason}"
        for disease in self.sensitivity.diseases.values():
            if not disease.samples.measurable:
                yield f"{disease.title}, sensitivity on samples: {disease.samples.reason}"


def grade(samples: Samples, graders: Graders, seed: int) -> Graded:
    """Grade the samples by the judge if there is one, and by the annotator."""
    by_annotator = graders.annotator
    consistency = measure_consistency(
        samples.requested_NK, samples.predicted_NK, samples.score_NK, by_annotator.unusable, seed
    )
    if graders.judge is None or samples.judged is None:
        sensitivity = compare_sensitivities(
            by_annotator.held_out, samples.requested_NK, samples.score_NK, by_annotator.unusable, seed
        )
        return Graded(by_annotator.unusable, consistency, None, sensitivity)
    requested_MK, judged, unusable = samples.requested_NK[samples.chosen], samples.judged, graders.judge.unusable
    return Graded(
        unusable,
        measure_consistency(requested_MK, judged.value_NK, judged.score_NK, unusable, seed),
        consistency,
        compare_sensitivities(graders.judge.held_out, requested_MK, judged.score_NK, unusable, seed),
    )
