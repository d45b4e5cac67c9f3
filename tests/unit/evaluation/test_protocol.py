"""The protocol from sets of images to metrics: complete sets, one sample, no held-out photograph."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from support.annotator_metrics_example import example_annotator_metrics
from support.copies_example import example_gate, untrained_encoder
from support.judge_example import example_judge
from support.privacy_example import example_attack
from synfundus.errors import WrongInputError
from synfundus.evaluation.config import EvaluationConfig
from synfundus.evaluation.diversity_section import ANATOMY
from synfundus.evaluation.grading import Grader, Graders
from synfundus.evaluation.image_sets import ComparedSets, Photographs, Predicted, Samples
from synfundus.evaluation.instruments import Instruments
from synfundus.evaluation.privacy_audit import GeneratorEvidence
from synfundus.evaluation.protocol import evaluate
from synfundus.evaluation.report import ReportContent, render_report
from synfundus.evaluation.spaces import Space
from synfundus.fundus.splits import NO_JUDGE
from synfundus.labels import LABELS, NUM_LABELS
from synfundus.measures.copies import SampledCounts
from synfundus.measures.diversity_metrics import ANATOMY_MEASURES
from synfundus.measures.judge_metrics import TeacherAsJudge
from synfundus.measures.metrics import ComputedSpace, EvaluationMetrics
from synfundus.measures.spectrum import octave_powers
from synfundus.measures.transfer_metrics import SkippedTransfer

SIZE_PX, DIM = 32, 6
ENCODER = untrained_encoder(SIZE_PX)
ONE = Graders(Grader({}, {}), None, TeacherAsJudge(reason=NO_JUDGE))
"""The annotator judges."""


def pixels(rng: np.random.Generator, n: int, contrast: float) -> NDArray[np.uint8]:
    return np.clip(rng.normal(128, contrast, (n, SIZE_PX, SIZE_PX, 3)), 0, 255).astype(np.uint8)


def anatomy(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """Return the anatomy of n images; without one, what a reader of images returns that has seen none."""
    return rng.normal(0.2, 0.02, (n, len(ANATOMY_MEASURES) if n else 1)).astype(np.float32)


def photographs(rng: np.random.Generator, n: int, name: str) -> Photographs:
    images_BHWC = pixels(rng, n, 20.0)
    labels = np.full((n, NUM_LABELS), -1, np.int8)
    labels[:, 1] = np.arange(n) % 2
    return Photographs(
        ids=[f"{name}{i}" for i in range(n)],
        patients=[f"{name}{i // 2}" for i in range(n)],
        expert_NK=labels,
        value_shares={label.name: np.zeros(label.max_value + 1) for label in LABELS},
        num_unknown={label.name: n for label in LABELS},
        descriptors_ND=ENCODER.descriptors(images_BHWC),
        chosen=np.arange(n),
        features={"annotator": rng.normal(size=(n, DIM)).astype(np.float32), ANATOMY: anatomy(rng, n)},
        octave_powers_MO=octave_powers(images_BHWC),
    )


def samples(rng: np.random.Generator, n: int, contrast: float = 20.0) -> Samples:
    images_BHWC = pixels(rng, n, contrast)
    labels = np.full((n, NUM_LABELS), -1, np.int8)
    labels[:, 1] = np.arange(n) % 2
    return Samples(
        sample_ids=np.arange(n),
        requested_NK=labels,
        predicted_NK=labels,
        score_NK=np.where(labels >= 0, labels, np.nan).astype(np.float32),
        chosen=np.arange(n),
        features={"annotator": rng.normal(size=(n, DIM)).astype(np.float32), ANATOMY: anatomy(rng, n)},
        octave_powers_MO=octave_powers(images_BHWC),
        descriptors_MD=ENCODER.descriptors(images_BHWC),
        files=["shards/a"] * n,
        sampled=SampledCounts(num_sampled=n, num_near=0),
    )


def measured(
    reference: Photographs, held_out: Photographs, synthetic: Samples, graders: Graders = ONE
) -> EvaluationMetrics:
    metrics, _ = evaluate(
        ComparedSets(reference, held_out, synthetic, SIZE_PX),
        Instruments(
            EvaluationConfig(),
            spaces={"annotator": Space("Annotator features"), "inception": Space("Inception features", "no weights")},
            graders=graders,
            gate=example_gate(),
            detector="no detector",
            phantoms={"annotator": np.random.default_rng(9).normal(3, 1, (80, DIM)).astype(np.float32)},
            min_patients=10,
        ),
        transfer=SkippedTransfer(reason="no grid"),
        generator=GeneratorEvidence((), example_attack("Membership from the weights", 0.5), initial_weights=False),
    )
    return metrics


def page_of(metrics: EvaluationMetrics) -> str:
    return render_report(
        ReportContent(title="T", study={}, metrics=metrics, annotator_metrics=example_annotator_metrics()), "public"
    )


def test_complete_sets_have_every_measure_and_the_contrast_shows_in_the_spectrum() -> None:
    rng = np.random.default_rng(0)
    metrics = measured(photographs(rng, 140, "a"), photographs(rng, 120, "b"), samples(rng, 100, contrast=10.0))
    space = metrics.fidelity.spaces["annotator"]
    assert isinstance(space, ComputedSpace)
    assert all(measure.measurable for _, measure in space.strata["overall"].synthetic.items())
    assert space.extrapolation.difference.measurable
    assert space.landmark is not None
    assert space.landmark.synthetic.interval[2] < space.landmark.phantoms.interval[1]
    for octave in metrics.spectrum.octaves:
        value, low, high = octave.ratio.interval
        assert value == pytest.approx(0.25, rel=0.1)  # half the contrast
        assert low < value < high < 0.3
    assert not any(note.startswith("Power spectrum") for note in metrics.notes)


def test_a_small_set_says_why_it_has_no_frechet_distance() -> None:
    rng = np.random.default_rng(1)
    metrics = measured(photographs(rng, 140, "a"), photographs(rng, 60, "b"), samples(rng, 50))
    (note,) = [note for note in metrics.notes if "Fréchet" in note]
    assert note.startswith("Annotator features, All images, Fréchet distance: 50 images; needs 5")
    assert "not measurable: 50 images; needs 5" in page_of(metrics)


@pytest.mark.parametrize(("num_held_out", "num_samples"), [(0, 60), (60, 1), (0, 1)])
def test_sets_without_images_still_have_a_report_that_names_the_gaps(num_held_out: int, num_samples: int) -> None:
    rng = np.random.default_rng(2)
    metrics = measured(photographs(rng, 80, "a"), photographs(rng, num_held_out, "b"), samples(rng, num_samples))
    patients = num_held_out // 2
    reason = f"{num_samples} samples and held-out photographs of {patients} patients; needs 10 of each"
    assert f"Power spectrum: {reason}" in metrics.notes
    assert f"not measurable: {reason}" in page_of(metrics)
    assert EvaluationMetrics.from_json(metrics.to_json(), "metrics.json") == metrics


def test_a_patient_in_both_sets_of_photographs_is_refused() -> None:
    rng = np.random.default_rng(3)
    with pytest.raises(WrongInputError, match="40 patients both"):
        measured(photographs(rng, 80, "a"), photographs(rng, 80, "a"), samples(rng, 60))


def test_an_independent_judge_grades_the_chosen_samples_and_the_annotator_stands_beside() -> None:
    """The judge predicts the opposite of each request, the annotator the request."""
    rng = np.random.default_rng(4)
    few = samples(rng, 120)
    chosen = np.arange(0, 120, 2) + np.arange(60) % 2
    opposite = np.where(few.requested_NK[chosen] >= 0, 1 - few.requested_NK[chosen], -1).astype(np.int8)
    scores = np.where(opposite >= 0, opposite, np.nan).astype(np.float32)
    synthetic = replace(
        few,
        chosen=chosen,
        features={space: values[chosen] for space, values in few.features.items()},
        octave_powers_MO=few.octave_powers_MO[chosen],
        descriptors_MD=few.descriptors_MD[chosen],
        files=few.files[:60],
        judged=Predicted(opposite, scores),
    )
    graders = Graders(Grader({}, {}), Grader({"is_gc": "chance"}, {}), example_judge())
    metrics = measured(photographs(rng, 140, "a"), photographs(rng, 120, "b"), synthetic, graders)
    side, by_annotator = metrics.consistency.labels["eye_side"], metrics.annotator_consistency
    assert by_annotator is not None
    assert (side.requested.value, side.requested.n, side.agreement.value) == (0.0, 60, 0.0)
    assert by_annotator.labels["eye_side"].requested.interval[0] == 1.0
    assert by_annotator.labels["eye_side"].requested.n == 120
    assert "Glaucoma, agreement with the request: unusable: chance" in metrics.notes
    assert EvaluationMetrics.from_json(metrics.to_json(), "metrics.json") == metrics


def test_without_an_independent_judge_the_annotator_alone_grades() -> None:
    rng = np.random.default_rng(5)
    metrics = measured(photographs(rng, 80, "a"), photographs(rng, 60, "b"), samples(rng, 60))
    assert metrics.annotator_consistency is None
    assert metrics.consistency.labels["eye_side"].requested.value == 1.0
    assert "Judge and teacher are one" in page_of(metrics)


def test_variety_has_every_space_and_the_anatomy_of_equal_sets_does_not_differ() -> None:
    rng = np.random.default_rng(6)
    metrics = measured(photographs(rng, 140, "a"), photographs(rng, 120, "b"), samples(rng, 100))
    diversity = metrics.diversity
    assert diversity.vendi.keys() == {"annotator"}
    assert diversity.nearest_other.keys() == {"annotator", "copies"}
    assert diversity.vendi["annotator"].ratio.measurable
    assert not any(entry.differs for entry in diversity.anatomy.values())
    assert diversity.requested_findings is None
    assert "Presence of each requested finding: no detector" in metrics.notes
