"""The evaluation protocol: photographs and samples in, `EvaluationMetrics` out.

docs/evaluation.md explains each number.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from synfundus.copies.gate import CopyGate
from synfundus.diagnosis.held_out import Predictions
from synfundus.errors import WrongInputError
from synfundus.evaluation.comparison import compare
from synfundus.evaluation.config import EvaluationConfig
from synfundus.evaluation.consistency import measure_consistency
from synfundus.evaluation.diversity_section import diversity_notes, measure_diversity
from synfundus.evaluation.extrapolation import extrapolate
from synfundus.evaluation.feature_sets import FeatureSet
from synfundus.evaluation.finding_detector import FindingDetector
from synfundus.evaluation.image_sets import Photographs, Samples
from synfundus.evaluation.landmark import compare_with_phantoms
from synfundus.evaluation.measure_texts import MEASURE_TEXTS
from synfundus.evaluation.privacy import measure_privacy
from synfundus.evaluation.privacy_audit import GeneratorEvidence, audit_privacy
from synfundus.evaluation.privacy_gate import privacy_verdict
from synfundus.evaluation.sensitivity import compare_sensitivities
from synfundus.evaluation.spaces import Space
from synfundus.evaluation.spectrum import compare_spectra
from synfundus.evaluation.strata import GROUPS, STRATA, Labels
from synfundus.labels import LABEL_BY_NAME, LABELS, FloatArray
from synfundus.measures.judge_metrics import Judge, Sensitivity
from synfundus.measures.metrics import (
    ClosestPair,
    ComputedSpace,
    Consistency,
    Counts,
    EvaluationMetrics,
    ExpectedCounts,
    Fidelity,
    LabelDistribution,
    Landmark,
    PowerSpectrum,
    Privacy,
    ProtocolSettings,
    SetCounts,
    SkippedSpace,
    UnmeasuredPrivacy,
    ValueCounts,
)
from synfundus.measures.nearest import Nearest
from synfundus.measures.transfer_metrics import SkippedTransfer, Transfer

NUM_CLOSEST = 12


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
    """What the report says of the judge."""


def evaluate(
    reference: Photographs,
    held_out: Photographs,
    samples: Samples,
    config: EvaluationConfig,
    *,
    spaces: Mapping[str, Space],
    graders: Graders,
    gate: CopyGate,
    phantoms: Mapping[str, FloatArray] | None,
    size_px: int,
    transfer: Transfer,
    detector: FindingDetector | str,
    min_patients: int,
    generator: GeneratorEvidence,
) -> tuple[EvaluationMetrics, Nearest | None]:
    """Measure the samples, and find the nearest training photograph of each chosen sample.

    Args:
        reference, held_out: photographs of the training split, and of validation and test (other patients).
        spaces: all feature spaces; the sets have features of those that are not skipped.
        graders: annotator and judge.
        gate: threshold of the copy detector, and what it finds.
        phantoms: features of phantoms in each computed space, as a landmark; None if the photographs are phantoms.
        size_px: side of all images in pixels.
        transfer: what models learnt from the samples, which `transfer.measuring` measures.
        detector: detector of findings in a study of phantoms, or the reason why there is none.
        min_patients: smallest number of patients of a combination of findings that is named.
        generator: what the training of the generator recorded, and the attack on its weights.

    Raises:
        WrongInputError: a patient is in both sets of photographs.
    """
    _require_disjoint_patients(reference, held_out)
    privacy, near = _measure_privacy(reference, held_out, samples, gate, config)
    audit = audit_privacy(reference, held_out, samples, privacy, generator, _device(config))
    fidelity = _measure_fidelity(reference, held_out, samples, config, spaces, phantoms)
    spectrum = _measure_spectrum(held_out, samples, size_px)
    judged = _judge(samples, graders, config)
    diversity = measure_diversity(
        reference,
        held_out,
        samples,
        config,
        spaces=[name for name, space in spaces.items() if space.skipped is None],
        detector=detector,
        size_px=size_px,
        min_patients=min_patients,
    )
    return EvaluationMetrics(
        config=_settings(config),
        counts=_counts(reference, held_out, samples),
        label_distributions=_distributions(reference, held_out, samples),
        fidelity=fidelity,
        spectrum=spectrum,
        diversity=diversity,
        judge=graders.facts,
        consistency=judged.consistency,
        annotator_consistency=judged.annotator_consistency,
        sensitivity=judged.sensitivity,
        transfer=transfer,
        privacy=privacy,
        notes=(
            *_notes(fidelity, spectrum, judged, privacy),
            *diversity_notes(diversity),
            *_transfer_notes(transfer),
        ),
        audit=audit,
        verdict=privacy_verdict(privacy, audit),
    ), near


def _device(config: EvaluationConfig) -> str:
    return "cuda" if config.resources.num_gpus else "cpu"


def _settings(config: EvaluationConfig) -> ProtocolSettings:
    return ProtocolSettings.model_validate(config.model_dump(include=set(ProtocolSettings.model_fields)))


@dataclass(frozen=True)
class _Judged:
    """Results that depend on who grades the samples."""

    unusable: Mapping[str, str]
    """Labels that the grader cannot predict, with the reason."""
    consistency: Consistency
    annotator_consistency: Consistency | None
    sensitivity: Sensitivity


def _judge(samples: Samples, graders: Graders, config: EvaluationConfig) -> _Judged:
    """Grade the samples by the judge if there is one, and by the annotator."""
    seed, by_annotator = config.seed, graders.annotator
    consistency = measure_consistency(
        samples.requested_NK, samples.predicted_NK, samples.score_NK, by_annotator.unusable, seed
    )
    if graders.judge is None or samples.judged is None:
        sensitivity = compare_sensitivities(
            by_annotator.held_out, samples.requested_NK, samples.score_NK, by_annotator.unusable, seed
        )
        return _Judged(by_annotator.unusable, consistency, None, sensitivity)
    requested_MK, judged, unusable = samples.requested_NK[samples.chosen], samples.judged, graders.judge.unusable
    return _Judged(
        unusable,
        measure_consistency(requested_MK, judged.value_NK, judged.score_NK, unusable, seed),
        consistency,
        compare_sensitivities(graders.judge.held_out, requested_MK, judged.score_NK, unusable, seed),
    )


def _require_disjoint_patients(reference: Photographs, held_out: Photographs) -> None:
    shared = set(reference.patients) & set(held_out.patients)
    if shared:
        raise WrongInputError(
            f"the prepared dataset has {len(shared)} patients both in the training split and in a held-out split;"
            " prepare the photographs again"
        )


def _counts(reference: Photographs, held_out: Photographs, samples: Samples) -> Counts:
    sizes = [
        SetCounts(num_images=len(images.ids), num_used=len(images.chosen), num_patients=len(set(images.patients)))
        for images in (reference, held_out)
    ]
    synthetic = SetCounts(num_images=len(samples.sample_ids), num_used=len(samples.chosen), num_patients=None)
    return Counts(reference=sizes[0], held_out=sizes[1], synthetic=synthetic)


def _distributions(reference: Photographs, held_out: Photographs, samples: Samples) -> dict[str, LabelDistribution]:
    """Return how often each value of each label occurs."""

    def count(labels_NK: Labels, k: int) -> ValueCounts:
        column = labels_NK[:, k]
        counts = tuple(int((column == value).sum()) for value in range(LABELS[k].max_value + 1))
        return ValueCounts(counts=counts, num_unknown=int((column < 0).sum()))

    return {
        label.name: LabelDistribution(
            values=tuple(range(label.max_value + 1)),
            reference_expert=count(reference.expert_NK, k),
            reference_known=ExpectedCounts(
                counts=tuple(round(float(share), 3) for share in reference.value_shares[label.name]),
                num_unknown=reference.num_unknown[label.name],
            ),
            held_out_expert=count(held_out.expert_NK, k),
            requested=count(samples.requested_NK, k),
            predicted=count(samples.predicted_NK, k),
        )
        for k, label in enumerate(LABELS)
    }


def _measure_fidelity(
    reference: Photographs,
    held_out: Photographs,
    samples: Samples,
    config: EvaluationConfig,
    spaces: Mapping[str, Space],
    phantoms: Mapping[str, FloatArray] | None,
) -> Fidelity:
    return Fidelity(
        measures=dict(MEASURE_TEXTS),
        strata={key: stratum.text for key, stratum in STRATA.items()},
        groups=dict(GROUPS),
        spaces={
            name: SkippedSpace(title=space.title, reason=space.skipped)
            if space.skipped is not None
            else _measure_space(
                name, space.title, reference, held_out, samples, config, None if phantoms is None else phantoms[name]
            )
            for name, space in spaces.items()
        },
    )


def _measure_space(
    space: str,
    title: str,
    reference: Photographs,
    held_out: Photographs,
    samples: Samples,
    config: EvaluationConfig,
    phantoms_ND: FloatArray | None,
) -> ComputedSpace:
    """Compare every stratum in one feature space."""
    members = {
        key: (
            stratum.members(reference.expert_NK[reference.chosen]),
            stratum.members(held_out.expert_NK[held_out.chosen]),
            stratum.members(samples.requested_NK[samples.chosen]),
        )
        for key, stratum in STRATA.items()
    }
    # Both groups have the same n, because measures have a bias that depends on n and readers compare the two.
    group_images = min(int(rows.sum()) for key in GROUPS for rows in members[key])
    strata = {
        key: compare(
            reference.feature_set(space, in_reference),
            held_out.feature_set(space, in_held_out),
            samples.feature_set(space, in_samples),
            min_images=config.min_images,
            num_neighbours=config.num_neighbours,
            seed=config.seed,
            max_images=group_images if key in GROUPS else None,
        )
        for key, (in_reference, in_held_out, in_samples) in members.items()
    }
    everything = [_all_chosen(space, images) for images in (reference, held_out, samples)]
    return ComputedSpace(
        title=title,
        dim=reference.features[space].shape[1],
        strata=strata,
        extrapolation=extrapolate(everything, strata["overall"], config.seed),
        landmark=None if phantoms_ND is None else _landmark(space, held_out, samples, phantoms_ND, config),
    )


def _all_chosen(space: str, images: Photographs | Samples) -> FeatureSet:
    """Return the features of all chosen images."""
    return images.feature_set(space, np.ones(len(images.chosen), np.bool_))


def _measure_spectrum(held_out: Photographs, samples: Samples, size_px: int) -> PowerSpectrum:
    """Compare the chosen images by their power in each octave."""
    patients = [held_out.patients[row] for row in held_out.chosen]
    return compare_spectra(held_out.octave_powers_MO, patients, samples.octave_powers_MO, size_px)


def _landmark(
    space: str, held_out: Photographs, samples: Samples, phantoms_ND: FloatArray, config: EvaluationConfig
) -> Landmark:
    """Compare samples with phantoms by their distance from held-out photographs."""
    return compare_with_phantoms(
        _all_chosen(space, held_out),
        _all_chosen(space, samples),
        FeatureSet(phantoms_ND, [str(i) for i in range(len(phantoms_ND))]),
        min_images=config.min_images,
        seed=config.seed,
    )


def _measure_privacy(
    reference: Photographs, held_out: Photographs, samples: Samples, gate: CopyGate, config: EvaluationConfig
) -> tuple[Privacy, Nearest | None]:
    """Measure the distance of samples to training photographs, with the closest pairs."""
    privacy, near = measure_privacy(
        reference.descriptors_ND,
        reference.patients,
        held_out.descriptors_ND,
        samples.descriptors_MD,
        gate,
        samples.sampled,
        _device(config),
    )
    if near is None or isinstance(privacy, UnmeasuredPrivacy):
        return privacy, None
    closest = tuple(_closest(near, samples, reference, privacy.threshold))
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


def _notes(
    fidelity: Fidelity,
    spectrum: PowerSpectrum,
    judged: _Judged,
    privacy: Privacy,
) -> Iterator[str]:
    """Yield what was not measured, and why, one line each."""
    for space in fidelity.ordered_spaces:
        if isinstance(space, SkippedSpace):
            yield f"{space.title}: {space.reason}"
        else:
            yield from _fidelity_notes(space, fidelity)
    if (top := spectrum.top) is None:
        yield "Power spectrum: images of fewer than 8 px have no octave"
    elif not top.ratio.measurable:
        yield f"Power spectrum: {top.ratio.reason}"
    for name, entry in judged.consistency.labels.items():
        if not entry.requested.measurable:
            reason = f"unusable: {judged.unusable[name]}" if name in judged.unusable else entry.requested.reason
            yield f"{LABEL_BY_NAME[name].title}, agreement with the request: {reason}"
    for disease in judged.sensitivity.diseases.values():
        if not disease.samples.measurable:
            yield f"{disease.title}, sensitivity on samples: {disease.samples.reason}"
    if isinstance(privacy, UnmeasuredPrivacy):
        yield f"Nearness to training images: {privacy.reason}"


def _transfer_notes(transfer: Transfer) -> Iterator[str]:
    """Yield what was not measured of the samples' worth for training."""
    missing = (transfer.reason,) if isinstance(transfer, SkippedTransfer) else transfer.notes
    yield from (f"Worth for training: {note}" for note in missing)


def _fidelity_notes(space: ComputedSpace, fidelity: Fidelity) -> Iterator[str]:
    """Yield the strata without any measure, then those that lack the Fréchet distance alone."""
    for key, compared in space.strata.items():
        if not compared.synthetic.kid.measurable:
            yield f"{space.title}, {fidelity.strata[key].title}: {compared.synthetic.kid.reason}"
    for key, compared in space.strata.items():
        if compared.synthetic.kid.measurable and not compared.synthetic.frechet_distance.measurable:
            reason = compared.synthetic.frechet_distance.reason
            yield f"{space.title}, {fidelity.strata[key].title}, Fréchet distance: {reason}"
