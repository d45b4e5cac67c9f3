"""Records and an encoder of a copy detector, for tests of what uses them."""

import torch

from synfundus.copies.encoder import CopyEncoder
from synfundus.copies.gate import CopyGate
from synfundus.copies.manifest import CopyCalibration
from synfundus.copies.network import CopyNetwork
from synfundus.measures.copies import CopyDetectorMetrics
from synfundus.measures.measure import Measure

EXAMPLE_METRICS = CopyDetectorMetrics(
    found={
        "mirrored": Measure.measured(1.0, 0.98, 1.0, 200),
        "JPEG of quality 50": Measure.measured(1.0, 0.98, 1.0, 200),
        "all mixed": Measure.measured(0.97, 0.94, 0.99, 200),
    },
    false_rejections=Measure.measured(0.01, 0.002, 0.05, 100),
)


def example_calibration(threshold: float = 0.2) -> CopyCalibration:
    """Return the threshold as 99 validation photographs would give it."""
    return CopyCalibration(threshold=threshold, false_rejection_rate=0.01, expected_rate=0.01, num_held_out=99)


def example_gate(threshold: float = 0.2) -> CopyGate:
    """Return the records of a detector with this threshold."""
    return CopyGate(example_calibration(threshold), EXAMPLE_METRICS)


def untrained_encoder(image_size_px: int = 32) -> CopyEncoder:
    """Return an encoder with random weights: equal images have equal descriptors, others differ."""
    torch.manual_seed(0)
    return CopyEncoder(CopyNetwork(image_size_px, 8), image_size_px)
