"""Detector of the findings of phantoms, for samples of a study of phantoms: a network trained on fresh phantoms.

Nobody knows which findings a sample shows. So a network learns them from rendered phantoms, whose labels are true, of
a seed that no study uses; it shares no image with annotator, generator or judge. Its sensitivity and specificity are
measured on further rendered phantoms. They hold for samples as far as samples look like phantoms.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor

from synfundus.diagnosis.annotator import NetworkScorer
from synfundus.diagnosis.augmentation import augment
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.counts import LabelCounts
from synfundus.diagnosis.model import ModelSpec, build_annotator, preprocess
from synfundus.diagnosis.training import class_weights, masked_loss
from synfundus.fundus.png import encode_png
from synfundus.fundus.preprocess import Prepared, prepare_image
from synfundus.labels import HEAD_NAMES, NUM_VALUES, FloatArray, LabelRow, encode_values, expand_known
from synfundus.measures.measure import Measure
from synfundus.measures.statistics import sensitivity, specificity
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_labels, phantom_record
from synfundus.phantom.sizes import DISEASE_HEADS
from synfundus.seeds import derive_seed
from synfundus.training.learner import Learner, image_indices

DETECTOR_SEED = 20260514
"""Seed reserved for the detector's phantoms, so that they never coincide with a study's."""
NUM_TRAINING, NUM_TEST = 1500, 600
MIN_SAMPLES = 200
"""Smallest number of samples for which a detector is trained; fewer would give each finding a handful of requests."""
MIN_RENDERED_PX = 64
"""Smallest side at which the detector's phantoms are rendered; they are prepared as photographs are."""
NARROW: dict[str, JsonValue] = {"channels": [32, 64, 128, 256], "stem_width": 16}
"""Half the width of the architecture, which is enough for phantoms and takes half a minute on one core at 32 px."""
DETECTED = np.array([HEAD_NAMES.index(head) for head in DISEASE_HEADS])


@dataclass(frozen=True)
class PhantomSet:
    """Phantoms that show a fundus, prepared as the photographs of a study, with their true labels."""

    images_NHWC: NDArray[np.uint8]
    p_NV: FloatArray
    """Values of the heads (N, 19), 0 or 1."""
    known_NK: NDArray[np.bool_]
    """True for the labels that are known, (N, 16)."""
    known_NV: NDArray[np.bool_]
    """The same by head."""


def render_phantoms(num_images: int, size_px: int, seed: int) -> PhantomSet:
    """Render and prepare the first `num_images` phantoms of a seed that show a fundus."""
    config = PhantomConfig(num_images=2 * num_images + 100, size_px=max(MIN_RENDERED_PX, size_px), seed=seed)
    images, rows = list[NDArray[np.uint8]](), list[LabelRow]()
    for index in range(config.num_images):
        if len(rows) == num_images:
            break
        if phantom_labels(config, index)[0]["is_fundus"] != 1:
            continue
        record = phantom_record(config, index)
        prepared = prepare_image(encode_png(record.image_HWC), size_px)
        assert isinstance(prepared, Prepared), "a phantom of a fundus has a field of view"
        images.append(prepared.pixels_HWC)
        rows.append(record.labels)
    p_NV, known_NK = encode_values(rows)
    return PhantomSet(np.stack(images), p_NV, known_NK, expand_known(known_NK))


class _FindingLearner(Learner):
    """The detector in training."""

    config: AnnotatorConfig

    def __init__(self, phantoms: PhantomSet, config: AnnotatorConfig, device: torch.device) -> None:
        torch.manual_seed(derive_seed("weights", config.seed))
        super().__init__(build_annotator(config.architecture, NUM_VALUES, model_args=NARROW), config, device)
        self.phantoms = phantoms
        positive_V = np.where(phantoms.known_NV, phantoms.p_NV, 0.0).sum(axis=0).astype(np.int64)
        weights = class_weights(LabelCounts(phantoms.known_NK, positive_V))
        self._weights = tuple(torch.from_numpy(weight_V).to(device) for weight_V in weights)

    def loss(self, positions: range) -> Tensor:
        phantoms, config = self.phantoms, self.config
        rows = image_indices(config.seed, positions, len(phantoms.p_NV))
        x_BCHW = preprocess(torch.from_numpy(phantoms.images_NHWC[rows]).to(self.device), config.image_size_px)
        p_BV = torch.from_numpy(phantoms.p_NV[rows]).to(self.device)
        x_BCHW, p_BV = augment(x_BCHW, p_BV, config, config.seed, positions)
        known_BV = torch.from_numpy(phantoms.known_NV[rows]).to(self.device)
        return masked_loss(self.forward_network(x_BCHW), p_BV, known_BV, *self._weights)


def _config(size_px: int) -> AnnotatorConfig:
    """Return the training of the detector: small phantoms are enlarged, because its strides would lose their detail."""
    return AnnotatorConfig(
        architecture="resnet10t",
        image_size_px=max(64, min(2 * size_px, 256)),
        num_steps=300,
        batch_size=32,
        learning_rate=2e-3,
        warmup_steps=30,
        seed=DETECTOR_SEED,
    )


@dataclass(frozen=True)
class FindingDetector:
    """A trained detector with its error rates."""

    scorer: NetworkScorer
    sensitivities: dict[str, Measure]
    """Share of the phantoms with a finding in which it is found, by head of `DISEASE_HEADS`."""
    specificities: dict[str, Measure]
    """Share of the phantoms without a finding in which it is not found, by head."""

    def detect(self, images_BHWC: NDArray[np.uint8]) -> FloatArray:
        """Return 1 where a finding of `DISEASE_HEADS` is found in uint8 images (B, H, W, 3), else 0; (B, 14)."""
        return (self.scorer.logits(images_BHWC)[:, DETECTED] > 0.0).astype(np.float32)


def no_detector(num_samples: int, *, real_photographs: bool) -> str | None:
    """Return why no detector of findings is trained for samples, or None if one is."""
    if real_photographs:
        return "only phantoms have true labels from which a detector can learn it"
    return f"{num_samples} samples; needs {MIN_SAMPLES}" if num_samples < MIN_SAMPLES else None


def train_finding_detector(size_px: int, device: torch.device | str) -> FindingDetector:
    """Train a detector on rendered phantoms of this size and measure its errors on others.

    The classes of each head have equal weight, so a logit above 0 means present at equal prevalence. The result is a
    pure function of `size_px`, the device and the number of threads.
    """
    config, device = _config(size_px), torch.device(device)
    learner = _FindingLearner(render_phantoms(NUM_TRAINING, size_px, DETECTOR_SEED), config, device)
    for step in range(config.num_steps):
        learner.train_step(step)
    spec = ModelSpec(architecture=config.architecture, image_size_px=config.image_size_px, model_args=NARROW)
    scorer = NetworkScorer(learner.network, spec, device)
    test = render_phantoms(NUM_TEST, size_px, DETECTOR_SEED + 1)
    found_NH = FindingDetector(scorer, {}, {}).detect(test.images_NHWC) > 0
    rates: dict[str, tuple[Measure, Measure]] = {}
    for column, (head, v) in enumerate(zip(DISEASE_HEADS, DETECTED, strict=True)):
        known_N = test.known_NV[:, v]
        truth, found = test.p_NV[known_N, v], found_NH[known_N, column]
        rates[head] = sensitivity(truth, found), specificity(truth, found)
    return FindingDetector(
        scorer, {head: pair[0] for head, pair in rates.items()}, {head: pair[1] for head, pair in rates.items()}
    )
