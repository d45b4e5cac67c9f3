"""The diagnosis deployment: the study's annotator over the images of all requests of a replica, batched."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from ray import serve

from synfundus.diagnosis.annotator import MICRO_BATCH
from synfundus.diagnosis.calibration import Calibration
from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.diagnosis.operating_points import OperatingPoints
from synfundus.fundus.held_bytes import MAX_HELD_BYTES
from synfundus.fundus.preprocess import ByteImage, Prepared, Rejected, prepare_by
from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.labels import HEAD_NAMES, HEADS, LABEL_NAMES, READABILITY
from synfundus.storage import open_storage
from synfundus.study import Study
from synfundus_serve.batcher import Batcher
from synfundus_serve.generation import MAX_ONGOING_REQUESTS
from synfundus_serve.memory_limit import MemoryLimit
from synfundus_serve.messages import AnnotatorInfo, ImageDiagnosis, LabelPrediction
from synfundus_serve.refusal import Refusal
from synfundus_serve.throughput import Throughput

NUM_DECODERS = 2
"""Threads that prepare photographs. Together they hold at most `held_bytes.MAX_HELD_BYTES`, so a large photograph is
decoded alone."""
MAX_OUTSTANDING_BYTES = 256 * 2**20
"""Encoded and prepared photographs that may be under way in a replica; requests beyond it are answered with 429."""
PHOTOGRAPHS_BYTES = MAX_HELD_BYTES + 2 * MAX_OUTSTANDING_BYTES
"""Largest number of bytes that photographs take in a pod with one replica: decoded ones, and encoded ones both in the
replica and in Ray's object store. The chart's `serving.pool.resources` leave room for it."""
SIDES = ("right", "left")


@dataclass(frozen=True)
class Prediction:
    """The annotator's output for one image, by label."""

    annotation: dict[str, int | None]
    """Grade, or 0 or 1; None for an unusable label."""
    probability: dict[str, float | list[float] | None]
    """Calibrated probability, for `dr_grade` of each grade; None for an unusable label."""


@serve.deployment(max_ongoing_requests=MAX_ONGOING_REQUESTS)
class Diagnosis:
    """One replica: one annotator, one thread that runs it, and a few that decode photographs."""

    def __init__(self, study: Study) -> None:
        resources = study.serving.diagnosis
        device = torch.device(resources.device)
        self._annotator = load_annotator(
            open_storage(study.root, create=False), study.annotator_folder, device, study.operating_points
        )
        self._annotator.require_new_images()
        self._prepare = study.data.prepare
        self._predict = Batcher(self._predict_all, MICRO_BATCH, resources.num_threads)
        self._decoding, self._memory = ThreadPoolExecutor(NUM_DECODERS, "decode"), MemoryLimit(MAX_HELD_BYTES)
        self._outstanding_bytes, self._throughput, self._since_s = 0, Throughput(), 0.0

    async def info(self) -> AnnotatorInfo:
        """Return the description of the annotator."""
        return AnnotatorInfo(
            digest=self._annotator.digest,
            size_px=self._prepare.size_px,
            not_available=list(self._annotator.calibration.unusable),
        )

    async def not_available(self) -> dict[str, str]:
        """Return the reason of each unusable label."""
        return self._annotator.calibration.unusable

    async def annotate(self, images_BHWC: ByteImage) -> list[Prediction]:
        """Return the predictions for prepared photographs or samples."""
        return list(await asyncio.gather(*(self._predict(image_HWC) for image_HWC in images_BHWC)))

    async def diagnose(self, photographs: Sequence[bytes]) -> list[ImageDiagnosis] | Refusal:
        """Prepare encoded photographs as in training, and return a diagnosis of each."""
        num_bytes = sum(map(len, photographs)) + len(photographs) * 3 * self._prepare.size_px**2
        excess = self._outstanding_bytes + num_bytes - MAX_OUTSTANDING_BYTES
        if excess > 0 and self._outstanding_bytes:  # else a request of many photographs of 2048 px is never served
            retry_after_s = self._throughput.seconds_for(excess)
            return Refusal(429, "too many photographs are under way; try again later", retry_after_s)
        if not self._outstanding_bytes:
            self._since_s = time.monotonic()
        self._outstanding_bytes += num_bytes
        try:
            return await self._diagnose(photographs)
        finally:
            self._outstanding_bytes -= num_bytes
            before_s, self._since_s = self._since_s, time.monotonic()
            self._throughput.record(num_bytes, self._since_s - before_s)

    async def _diagnose(self, photographs: Sequence[bytes]) -> list[ImageDiagnosis] | Refusal:
        loop, prepare = asyncio.get_running_loop(), partial(prepare_by, self._prepare, hold=self._memory.hold)
        decoding = (loop.run_in_executor(self._decoding, prepare, photograph) for photograph in photographs)
        prepared: list[Prepared] = []
        for number, result in enumerate(await asyncio.gather(*decoding)):
            if isinstance(result, Rejected):
                status = 413 if result.reason is ImageRejectionReason.DECOMPRESSION_BOMB else 422
                return Refusal(status, f"image {number}: {result.reason.value.replace('_', ' ')} ({result.detail})")
            prepared.append(result)
        predictions = await asyncio.gather(*(self._predict(one.pixels_HWC) for one in prepared))
        calibration, points = self._annotator.calibration, self._annotator.points
        return [
            diagnosis_of(prediction, one.field_px, calibration, points)
            for prediction, one in zip(predictions, prepared, strict=True)
        ]

    async def num_batches(self) -> int:
        """Return the number of forward passes of this replica so far."""
        return self._predict.num_batches

    def _predict_all(self, images: Sequence[ByteImage]) -> list[Prediction]:
        """Return the predictions of a batch. Images of one size share a forward pass; samples may differ in size."""
        predictions: dict[int, Prediction] = {}
        for shape in {image.shape for image in images}:
            rows = [i for i, image in enumerate(images) if image.shape == shape]
            output = self._annotator.predict(np.stack([images[i] for i in rows]))
            for b, i in enumerate(rows):
                predictions[i] = Prediction(output.annotations[b], output.probabilities(b))
        return [predictions[i] for i in range(len(images))]


def diagnosis_of(
    prediction: Prediction, field_px: int, calibration: Calibration, points: OperatingPoints
) -> ImageDiagnosis:
    """Return the diagnosis of a photograph whose field of view has the diameter `field_px`."""
    unusable = calibration.unusable
    labels = {name: _label(name, prediction, points, unusable.get(name)) for name in LABEL_NAMES}
    readable = [labels[name].value for name in READABILITY]
    side = labels["eye_side"].value
    return ImageDiagnosis(
        field_px=field_px,
        is_readable=False if 0 in readable else None if None in readable else True,
        eye_side=None if side is None else SIDES[side],
        predictions=labels,
    )


def _label(name: str, prediction: Prediction, points: OperatingPoints, reason: str | None) -> LabelPrediction:
    """Return the prediction of one label; `reason`: why it is unusable."""
    if reason is not None:
        return LabelPrediction(status="not available", reason=reason)
    of_heads = [points.heads[head] for head in HEAD_NAMES[HEADS[name]]]
    thresholds = [point.threshold for point in of_heads]
    return LabelPrediction(
        status="available",
        value=prediction.annotation[name],
        probability=prediction.probability[name],
        threshold=thresholds[0] if len(thresholds) == 1 else thresholds,
        operating_point=of_heads[0].words,
        reason=points.unmet.get(name),
    )
