"""The section `diversity` of the metrics: variety, combinations of findings, anatomy, requested findings."""

from collections.abc import Iterator, Mapping

import numpy as np

from synfundus.evaluation.anatomy.measuring import measure_anatomy
from synfundus.evaluation.anatomy_comparison import AnatomySet, compare_anatomy
from synfundus.evaluation.feature_sets import FeatureSet
from synfundus.evaluation.finding_combinations import LabelledPhotographs, cover_combinations
from synfundus.evaluation.finding_detector import FindingDetector
from synfundus.evaluation.image_sets import ComparedSets, Photographs, Samples, chosen_features
from synfundus.evaluation.instruments import Instruments
from synfundus.evaluation.requested_findings import measure_requested_findings
from synfundus.evaluation.spaces import Extractor
from synfundus.evaluation.variety import compare_nearest_other, compare_vendi
from synfundus.labels import FloatArray
from synfundus.measures.diversity_metrics import (
    ANATOMY_MEASURES,
    AnatomyComparison,
    AnatomyName,
    Diversity,
    NearestOther,
    RequestedFindings,
    VendiComparison,
)

ANATOMY, FINDINGS = "measured anatomy", "detected findings"
"""Names under which both are kept beside the features of spaces; no space has a name with a blank."""
COPIES = "copies"
"""Name of the space of copy descriptors."""


def diversity_extractors(detector: FindingDetector | str) -> dict[str, Extractor]:
    """Return the extractors that held-out photographs and samples need beside those of the feature spaces.

    Args:
        detector: detector of findings, or the reason why there is none.
    """
    found: Mapping[str, Extractor] = {} if isinstance(detector, str) else {FINDINGS: detector.detect}
    return {ANATOMY: measure_anatomy, **found}


def measure_diversity(sets: ComparedSets, instruments: Instruments) -> Diversity:
    """Return the variety of the samples beside that of the held-out photographs."""
    detector = instruments.detector
    return Diversity(
        vendi=_vendi_scores(sets, instruments),
        nearest_other=_nearest_others(sets, instruments),
        combinations=cover_combinations(
            LabelledPhotographs(sets.reference.expert_NK, sets.reference.patients),
            LabelledPhotographs(sets.held_out.expert_NK, sets.held_out.patients),
            sets.samples.requested_NK,
            sets.samples.predicted_NK,
            min_patients=instruments.min_patients,
            seed=instruments.config.seed,
        ),
        anatomy=_anatomy(sets),
        requested_findings=None if isinstance(detector, str) else _requested_findings(sets, detector),
        findings_reason=detector if isinstance(detector, str) else None,
    )


def _vendi_scores(sets: ComparedSets, instruments: Instruments) -> dict[str, VendiComparison]:
    """Return the comparison in each feature space."""
    config = instruments.config
    return {
        space: compare_vendi(
            *(chosen_features(images, space) for images in (sets.reference, sets.held_out, sets.samples)),
            min_images=config.min_images,
            seed=config.seed,
        )
        for space in instruments.computed_spaces
    }


def _nearest_others(sets: ComparedSets, instruments: Instruments) -> dict[str, NearestOther]:
    """Return the comparison in the space of copies, then in each feature space."""
    held_out, samples, config = sets.held_out, sets.samples, instruments.config
    pairs = {
        COPIES: (
            FeatureSet(held_out.descriptors_ND[held_out.chosen], held_out.groups),
            FeatureSet(samples.descriptors_MD, samples.groups),
        ),
        **{
            space: (chosen_features(held_out, space), chosen_features(samples, space))
            for space in instruments.computed_spaces
        },
    }
    return {
        space: compare_nearest_other(*pair, min_images=config.min_images, seed=config.seed)
        for space, pair in pairs.items()
    }


def _anatomy(sets: ComparedSets) -> dict[AnatomyName, AnatomyComparison]:
    held_out, samples = sets.held_out, sets.samples
    photographs = AnatomySet(_anatomy_values(held_out), held_out.expert_NK[held_out.chosen], held_out.groups)
    synthetic = AnatomySet(_anatomy_values(samples), samples.requested_NK[samples.chosen], samples.groups)
    return compare_anatomy(photographs, synthetic, size_px=sets.size_px)


def _anatomy_values(images: Photographs | Samples) -> FloatArray:
    """Return the anatomy of the chosen images, (M, 6); a set without an image has no columns of its own."""
    values = images.features[ANATOMY]
    return values if len(values) else np.zeros((0, len(ANATOMY_MEASURES)), np.float32)


def _requested_findings(sets: ComparedSets, detector: FindingDetector) -> RequestedFindings:
    samples = sets.samples
    requested_NK = samples.requested_NK[samples.chosen]
    return measure_requested_findings(samples.features[FINDINGS], requested_NK, detector, sets.size_px)


def diversity_notes(diversity: Diversity) -> Iterator[str]:
    """Yield what was not measured, and why, one line each."""
    for space, vendi in diversity.vendi.items():
        if not vendi.ratio.measurable:
            yield f"Vendi score in the space {space}: {vendi.ratio.reason}"
    for space, nearest in diversity.nearest_other.items():
        if not nearest.twins.measurable:
            yield f"Twins in the space {space}: {nearest.twins.reason}"
    if not diversity.combinations.by_requests.measurable:
        yield f"Combinations of findings: {diversity.combinations.by_requests.reason}"
    for anatomy in diversity.anatomy.values():
        if not anatomy.difference.measurable:
            yield f"{anatomy.title}: {anatomy.difference.reason}"
    if diversity.requested_findings is None:
        yield f"Presence of each requested finding: {diversity.findings_reason}"
        return
    for finding in diversity.requested_findings.findings.values():
        if not finding.present.measurable:
            yield f"{finding.title}, presence of the requested finding: {finding.present.reason}"
