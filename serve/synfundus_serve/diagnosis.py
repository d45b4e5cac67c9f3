"""The diagnosis deployment: the study's annotator over the images of all requests of a replica, batched."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from ray import serve

from synfundus.diagnosis.annotator import MICRO_BATCH
from synfundus.diagnosis.calibration import Calibration
from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.fundus.preprocess import Prepared, Reason, Rejected
from synfundus.labels import HEADS, LABEL_NAMES, READABILITY
from synfundus.storage import open_storage
from synfundus.study import Study
from synfundus_serve.batches import Batches
from synfundus_serve.generation import MANY_REQUESTS
from synfundus_serve.messages import AnnotatorInfo, Diagnosis, Finding
from synfundus_serve.refusal import Refusal
from synfundus_serve.speed import Speed

DECODERS = 2
"""Threads that prepare photographs; each holds one decoded, 3 bytes a pixel."""
MAX_OUTSTANDING_BYTES = 256 * 2**20
"""Encoded photographs that may wait in a replica; beyond, requests are answered with 429."""
SIDES = ("right", "left")
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Seen:
    """What the annotator sees in one image."""

    annotation: dict[str, int | None]
    probability: dict[str, float | list[float] | None]


@serve.deployment(name="Diagnosis", max_ongoing_requests=MANY_REQUESTS)
class DiagnosisReplica:
    """One replica: one annotator, one thread that runs it, a few that decode photographs."""

    def __init__(self, study: Study) -> None:
        device = torch.device("cuda" if study.samples.use_gpu else "cpu")
        self._annotator = load_annotator(open_storage(study.root, create=False), study.annotator_folder, device)
        self._annotator.require_new_images()
        self._prepare = study.data.prepare
        self._see = Batches(self._see_all, MICRO_BATCH, study.samples.num_threads)
        self._decoding = ThreadPoolExecutor(DECODERS, "decode")
        self._outstanding_bytes, self._speed, self._since_s = 0, Speed(), 0.0

    async def info(self) -> AnnotatorInfo:
        return AnnotatorInfo(
            digest=self._annotator.digest,
            size_px=self._prepare.size_px,
            not_available=list(self._annotator.calibration.unusable),
        )

    async def not_available(self) -> dict[str, str]:
        """Labels that cannot be told, each with the reason."""
        return self._annotator.calibration.unusable

    async def annotate(self, images_BHWC: Pixels) -> list[Seen]:
        """What is seen in images that are prepared already, or synthetic."""
        return list(await asyncio.gather(*(self._see(image_HWC) for image_HWC in images_BHWC)))

    async def diagnose(self, photographs: Sequence[bytes]) -> list[Diagnosis] | Refusal:
        """Encoded photographs, prepared as those of training were, and what is seen in them."""
        num_bytes = sum(map(len, photographs))
        excess = self._outstanding_bytes + num_bytes - MAX_OUTSTANDING_BYTES
        if excess > 0:
            retry_after_s = self._speed.seconds_for(excess)
            return Refusal(429, "too many photographs are under way; try again later", retry_after_s)
        if not self._outstanding_bytes:
            self._since_s = time.monotonic()
        self._outstanding_bytes += num_bytes
        try:
            return await self._diagnose(photographs)
        finally:
            self._outstanding_bytes -= num_bytes
            before_s, self._since_s = self._since_s, time.monotonic()
            self._speed.note(num_bytes, self._since_s - before_s)

    async def _diagnose(self, photographs: Sequence[bytes]) -> list[Diagnosis] | Refusal:
        loop, prepare = asyncio.get_running_loop(), self._prepare.prepare
        decoding = (loop.run_in_executor(self._decoding, prepare, photograph) for photograph in photographs)
        prepared: list[Prepared] = []
        for number, result in enumerate(await asyncio.gather(*decoding)):
            if isinstance(result, Rejected):
                status = 413 if result.reason is Reason.DECOMPRESSION_BOMB else 422
                return Refusal(status, f"image {number}: {result.reason.value.replace('_', ' ')} ({result.detail})")
            prepared.append(result)
        seen = await asyncio.gather(*(self._see(one.pixels_HWC) for one in prepared))
        calibration = self._annotator.calibration
        return [diagnosis_of(s, one.field_px, calibration) for s, one in zip(seen, prepared, strict=True)]

    async def num_batches(self) -> int:
        """Forwards of this replica so far."""
        return self._see.num_batches

    def _see_all(self, images: Sequence[Pixels]) -> list[Seen]:
        """Synthetic images may have another size than photographs; those of one size are looked at together."""
        seen: dict[int, Seen] = {}
        for shape in {image.shape for image in images}:
            rows = [i for i, image in enumerate(images) if image.shape == shape]
            output = self._annotator.predict(np.stack([images[i] for i in rows]))
            for b, i in enumerate(rows):
                seen[i] = Seen(output.annotations[b], output.probabilities(b))
        return [seen[i] for i in range(len(images))]


def diagnosis_of(seen: Seen, field_px: int, calibration: Calibration) -> Diagnosis:
    """The answer for one photograph."""
    unusable = calibration.unusable
    findings = {name: _finding(name, seen, calibration, unusable.get(name)) for name in LABEL_NAMES}
    readable = [findings[name].value for name in READABILITY]
    side = findings["eye_side"].value
    return Diagnosis(
        field_px=field_px,
        is_readable=False if 0 in readable else None if None in readable else True,
        eye_side=None if side is None else SIDES[side],
        findings=findings,
    )


def _finding(name: str, seen: Seen, calibration: Calibration, reason: str | None) -> Finding:
    if reason is not None:
        return Finding(status="not available", reason=reason)
    heads = list(calibration.heads.values())[HEADS[name]]
    return Finding(
        status="available",
        value=seen.annotation[name],
        probability=seen.probability[name],
        threshold=heads[0].threshold if len(heads) == 1 else None,
    )
