"""The section `diversity` of the metrics: variety, combinations of findings, anatomy, requested findings."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from synfundus.evaluation.anatomy.measuring import measure_anatomy
from synfundus.evaluation.anatomy_comparison import AnatomySet, compare_anatomy
from synfundus.evaluation.config import EvaluationConfig
from synfundus.evaluation.feature_sets import FeatureSet
from synfundus.evaluation.finding_combinations import cover_combinations
from synfundus.evaluation.finding_detector import FindingDetector
from synfundus.evaluation.image_sets import Photographs, Samples
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


def measure_diversity(
    reference: Photographs,
    held_out: Photographs,
    samples: Samples,
    config: EvaluationConfig,
    *,
    spaces: Sequence[str],
    detector: FindingDetector | str,
    size_px: int,
    min_patients: int,
) -> Diversity:
    """Return the variety of the samples beside that of the held-out photographs.

    Args:
        reference: training photographs, whose combinations of findings are counted.
        spaces: feature spaces that were computed.
        detector: detector of the samples' findings, or the reason why there is none.
        size_px: side of all images.
        min_patients: smallest number of patients of a combination of findings that is named.
    """
    return Diversity(
        vendi={
            space: compare_vendi(
                *(_features(images, space) for images in (reference, held_out, samples)),
                min_images=config.min_images,
                seed=config.seed,
            )
            for space in spaces
        },
        nearest_other=_nearest_others(held_out, samples, spaces, config),
        combinations=cover_combinations(
            reference.expert_NK,
            reference.patients,
            held_out.expert_NK,
            held_out.patients,
            samples.requested_NK,
            samples.predicted_NK,
            min_patients=min_patients,
            seed=config.seed,
        ),
        anatomy=_anatomy(held_out, samples, size_px),
        requested_findings=None if isinstance(detector, str) else _requested_findings(samples, detector, size_px),
        findings_reason=detector if isinstance(detector, str) else None,
    )


def _features(images: Photographs | Samples, space: str) -> FeatureSet:
    return images.feature_set(space, np.ones(len(images.chosen), np.bool_))


def _nearest_others(
    held_out: Photographs, samples: Samples, spaces: Sequence[str], config: EvaluationConfig
) -> dict[str, NearestOther]:
    """Return the comparison in the space of copies, then in each feature space."""
    patients = [held_out.patients[row] for row in held_out.chosen]
    ids = [str(sample_id) for sample_id in samples.sample_ids[samples.chosen]]
    sets = {
        COPIES: (
            FeatureSet(held_out.descriptors_ND[held_out.chosen], patients),
            FeatureSet(samples.descriptors_MD, ids),
        ),
        **{space: (_features(held_out, space), _features(samples, space)) for space in spaces},
    }
    return {
        space: compare_nearest_other(*pair, min_images=config.min_images, seed=config.seed)
        for space, pair in sets.items()
    }


def _anatomy(held_out: Photographs, samples: Samples, size_px: int) -> dict[AnatomyName, AnatomyComparison]:
    photographs = AnatomySet(
        _anatomy_values(held_out),
        held_out.expert_NK[held_out.chosen],
        [held_out.patients[row] for row in held_out.chosen],
    )
    ids = [str(sample_id) for sample_id in samples.sample_ids[samples.chosen]]
    synthetic = AnatomySet(_anatomy_values(samples), samples.requested_NK[samples.chosen], ids)
    return compare_anatomy(photographs, synthetic, size_px=size_px)


def _anatomy_values(images: Photographs | Samples) -> FloatArray:
    """Return the anatomy of the chosen images, (M, 6); a set without an image has no columns of its own."""
    values = images.features[ANATOMY]
    return values if len(values) else np.zeros((0, len(ANATOMY_MEASURES)), np.float32)


def _requested_findings(samples: Samples, detector: FindingDetector, size_px: int) -> RequestedFindings:
    requested_NK = samples.requested_NK[samples.chosen]
    return measure_requested_findings(samples.features[FINDINGS], requested_NK, detector, size_px)


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
