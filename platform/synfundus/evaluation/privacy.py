"""The distance ratio of samples to the training photographs, and the share of samples that lie too near."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synfundus.copies.gate import CopyGate
from synfundus.labels import FloatArray
from synfundus.measures.copies import COPY_SPACE, SampledCounts
from synfundus.measures.intervals import exact_upper_bound
from synfundus.measures.metrics import MeasuredPrivacy, RatioHistogram, UnmeasuredPrivacy
from synfundus.measures.nearest import Nearest, held_out_ratios, nearest, reference_on
from synfundus.measures.statistics import proportion

NUM_BINS = 40


def measure_privacy(
    training_ND: FloatArray,
    training_patients: Sequence[str],
    held_out_MD: FloatArray,
    synthetic_KD: FloatArray,
    gate: CopyGate,
    sampled: SampledCounts,
    device: str,
) -> tuple[MeasuredPrivacy, Nearest] | tuple[UnmeasuredPrivacy, None]:
    """Return the section `privacy` of the metrics without closest pairs, and each sample's nearest training photograph.

    Args:
        training_patients: patient of each training photograph.
        synthetic_KD: descriptors of accepted samples.
        gate: threshold of the copy detector, and what it finds.
        sampled: all samples, accepted or not. The rate of copies counts them all, because no accepted sample is a copy.
        device: device of the search for the nearest training photograph.
    """
    counts = {"num_training": len(training_ND), "num_held_out": len(held_out_MD), "num_synthetic": len(synthetic_KD)}
    empty = [name.removeprefix("num_").replace("_", "-") for name, count in counts.items() if count == 0]
    if empty:
        return UnmeasuredPrivacy(reason=f"there are no {' and no '.join(empty)} images", **counts), None
    reference = reference_on(training_ND, training_patients, device)
    held_out_M, synthetic = held_out_ratios(held_out_MD, reference), nearest(synthetic_KD, reference)
    threshold = gate.calibration.threshold
    privacy = MeasuredPrivacy(
        **{**counts, "num_held_out": len(held_out_M)},
        space=COPY_SPACE,
        threshold=threshold,
        expected_rate=gate.calibration.expected_rate,
        num_validation=gate.calibration.num_held_out,
        detector=gate.metrics,
        num_sampled=sampled.num_sampled,
        num_near=sampled.num_near,
        share_near=proportion(np.arange(sampled.num_sampled) < sampled.num_near),
        share_near_upper_bound=exact_upper_bound(sampled.num_near, sampled.num_sampled),
        num_below=int((synthetic.ratio < threshold).sum()),
        ratios=_histogram(held_out_M, synthetic.ratio),
    )
    return privacy, synthetic


def _histogram(held_out: NDArray[np.float64], synthetic: NDArray[np.float64]) -> RatioHistogram:
    edges = np.linspace(0.0, 1.0, NUM_BINS + 1)
    return RatioHistogram(
        bin_edges=tuple(edges.tolist()),
        held_out=tuple(np.histogram(held_out, edges)[0].tolist()),
        synthetic=tuple(np.histogram(synthetic, edges)[0].tolist()),
    )
