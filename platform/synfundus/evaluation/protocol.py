"""The evaluation protocol: photographs and samples in, `EvaluationMetrics` out.

docs/evaluation.md explains each number.
"""

from collections.abc import Iterator

import numpy as np

from synfundus.evaluation.config import EvaluationConfig
from synfundus.evaluation.diversity_section import diversity_notes, measure_diversity
from synfundus.evaluation.fidelity_section import fidelity_notes, measure_fidelity
from synfundus.evaluation.grading import grade
from synfundus.evaluation.image_sets import ComparedSets, Photographs, Samples
from synfundus.evaluation.instruments import Instruments
from synfundus.evaluation.privacy import measure_privacy
from synfundus.evaluation.privacy_audit import GeneratorEvidence, audit_privacy
from synfundus.evaluation.privacy_gate import privacy_verdict
from synfundus.evaluation.spectrum import compare_spectra, spectrum_notes
from synfundus.evaluation.strata import Labels
from synfundus.labels import LABELS
from synfundus.measures.metrics import (
    ClosestPair,
    Counts,
    EvaluationMetrics,
    ExpectedCounts,
    LabelDistribution,
    Privacy,
    ProtocolSettings,
    SetCounts,
    UnmeasuredPrivacy,
    ValueCounts,
)
from synfundus.measures.nearest import Nearest
from synfundus.measures.transfer_metrics import SkippedTransfer, Transfer

NUM_CLOSEST = 12


def evaluate(
    sets: ComparedSets, instruments: Instruments, *, transfer: Transfer, generator: GeneratorEvidence
) -> tuple[EvaluationMetrics, Nearest | None]:
    """Measure the samples, and find the nearest training photograph of each chosen sample.

    Args:
        transfer: what models learnt from the samples, which `transfer.measuring` measures.
        generator: what the training of the generator recorded, and the attack on its weights.
    """
    held_out, samples, config = sets.held_out, sets.samples, instruments.config
    fidelity = measure_fidelity(sets, instruments)
    spectrum = compare_spectra(held_out.octave_powers_MO, held_out.groups, samples.octave_powers_MO, sets.size_px)
    graded = grade(samples, instruments.graders, config.seed)
    diversity = measure_diversity(sets, instruments)
    privacy, near = _measure_privacy(sets, instruments)
    audit = audit_privacy(sets.reference, held_out, samples, privacy, generator, config.resources.device)
    return EvaluationMetrics(
        config=_settings(config),
        counts=_counts(sets),
        label_distributions=_distributions(sets),
        fidelity=fidelity,
        spectrum=spectrum,
        diversity=diversity,
        judge=instruments.graders.facts,
        consistency=graded.consistency,
        annotator_consistency=graded.annotator_consistency,
        sensitivity=graded.sensitivity,
        transfer=transfer,
        privacy=privacy,
        audit=audit,
        verdict=privacy_verdict(privacy, audit),
        notes=(
            *fidelity_notes(fidelity),
            *spectrum_notes(spectrum),
            *graded.notes(),
            *_privacy_notes(privacy),
            *diversity_notes(diversity),
            *_transfer_notes(transfer),
        ),
    ), near


def _settings(config: EvaluationConfig) -> ProtocolSettings:
    return ProtocolSettings.model_validate(config.model_dump(include=set(ProtocolSettings.model_fields)))


def _counts(sets: ComparedSets) -> Counts:
    reference, held_out = (
        SetCounts(num_images=len(images.ids), num_used=len(images.chosen), num_patients=len(set(images.patients)))
        for images in (sets.reference, sets.held_out)
    )
    samples = sets.samples
    synthetic = SetCounts(num_images=len(samples.sample_ids), num_used=len(samples.chosen), num_patients=None)
    return Counts(reference=reference, held_out=held_out, synthetic=synthetic)


def _distributions(sets: ComparedSets) -> dict[str, LabelDistribution]:
    """Return how often each value of each label occurs."""

    def count(labels_NK: Labels, k: int) -> ValueCounts:
        column = labels_NK[:, k]
        counts = tuple(int((column == value).sum()) for value in range(LABELS[k].max_value + 1))
        return ValueCounts(counts=counts, num_unknown=int((column < 0).sum()))

    reference, samples = sets.reference, sets.samples
    return {
        label.name: LabelDistribution(
            values=tuple(range(label.max_value + 1)),
            reference_expert=count(reference.expert_NK, k),
            reference_known=ExpectedCounts(
                counts=tuple(round(float(share), 3) for share in reference.value_shares[label.name]),
                num_unknown=reference.num_unknown[label.name],
            ),
            held_out_expert=count(sets.held_out.expert_NK, k),
            requested=count(samples.requested_NK, k),
            predicted=count(samples.predicted_NK, k),
        )
        for k, label in enumerate(LABELS)
    }


def _measure_privacy(sets: ComparedSets, instruments: Instruments) -> tuple[Privacy, Nearest | None]:
    """Measure the distance of samples to training photographs, with the closest pairs."""
    privacy, near = measure_privacy(
        sets.reference.descriptors_ND,
        sets.reference.patients,
        sets.held_out.descriptors_ND,
        sets.samples.descriptors_MD,
        instruments.gate,
        sets.samples.sampled,
        instruments.config.resources.device,
    )
    if near is None or isinstance(privacy, UnmeasuredPrivacy):
        return privacy, None
    closest = tuple(_closest(near, sets.samples, sets.reference, privacy.threshold))
    return privacy.model_copy(update={"closest": closest}), near


def _closest(near: Nearest, samples: Samples, reference: Photographs, threshold: float) -> Iterator[ClosestPair]:
    """Yield the samples with the smallest distance ratios, smallest first."""
    for row in closest_rows(near):
        yield ClosestPair(
            sample_id=int(samples.sample_ids[samples.chosen[row]]),
            training_image_id=reference.ids[near.index[row]],
            distance_ratio=float(near.ratio[row]),
            mirrored=bool(near.mirrored[row]),
            below_threshold=bool(near.ratio[row] < threshold),
        )


def closest_rows(near: Nearest) -> list[int]:
    """Return the rows of the `NUM_CLOSEST` samples with the smallest distance ratios, smallest first."""
    return [int(row) for row in np.argsort(near.ratio, kind="stable")[:NUM_CLOSEST]]


def _privacy_notes(privacy: Privacy) -> Iterator[str]:
    """Yield that the nearness was not measured, and why."""
    if isinstance(privacy, UnmeasuredPrivacy):
        yield f"Nearness to training images: {privacy.reason}"


def _transfer_notes(transfer: Transfer) -> Iterator[str]:
    """Yield what was not measured of the samples' worth for training."""
    missing = (transfer.reason,) if isinstance(transfer, SkippedTransfer) else transfer.notes
    yield from (f"Worth for training: {note}" for note in missing)
