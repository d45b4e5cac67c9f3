"""One worker of the sampling: it denoises, encodes, annotates and checks a shard, and writes it with its record."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from synfundus.copies.detector import load_copy_detector
from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.diffusion.checkpoint import load_generator
from synfundus.diffusion.engine import Engine, RowRequest
from synfundus.diffusion.noise import sample_seed
from synfundus.fundus.origin import OTHER_SOURCES, Origin
from synfundus.labels import FloatArray, LabelRow, encode_conditions
from synfundus.samples.image_file import encode_image
from synfundus.samples.plan import Plan
from synfundus.samples.rejection import SampleRejection
from synfundus.samples.shards import Sample, encode_shard
from synfundus.samples.verify import CopyReference, check_copies, check_files, decode_files
from synfundus.samples.work import ShardRecord, ShardWork
from synfundus.storage import Storage


@dataclass(frozen=True)
class SamplingTask:
    """Everything that a worker needs besides its shard. Small, because each worker gets a copy."""

    storage: Storage
    folder: str
    """`samples/<name>`."""
    generator_folder: str
    annotator_folder: str
    copy_detector_folder: str
    """Detector of copies of the training images."""
    plan: Plan
    origin: Origin = OTHER_SOURCES
    """Origin of the images that the generator was trained on."""


@dataclass(frozen=True)
class _Batch:
    """Samples of a micro-batch, rejections of image files among them, and the copy descriptor of each sample."""

    samples: list[Sample]
    rejections: list[SampleRejection]
    descriptors_BD: FloatArray


class ShardSampler:
    """A worker of the pool. It holds three models, and a thread that encodes while the engine denoises."""

    def __init__(self, task: SamplingTask, reference: CopyReference) -> None:
        resources = task.plan.config.resources
        torch.set_num_threads(resources.num_threads)
        device = torch.device(resources.device)
        self.task = task
        self.detector = load_copy_detector(task.storage, task.copy_detector_folder, device)
        self.reference, self.calibration = reference.training.on(device), reference.calibration
        generator = load_generator(task.storage, task.generator_folder, device)
        self.generator_digest = generator.digest
        self.engine = Engine(
            generator.unet,
            generator.schedule,
            generator.image_shape,
            device=device,
            dtype=torch.bfloat16 if resources.precision == "bf16" else torch.float32,
        )
        self.annotator = load_annotator(task.storage, task.annotator_folder, device, task.plan.operating_points)
        self.encoder = ThreadPoolExecutor(1)

    def __call__(self, work: ShardWork) -> int:
        """Sample one shard and write it; return its number of samples."""
        config = self.task.plan.config
        conditions = self.task.plan.conditions(work.sample_ids)
        pending: list[Future[_Batch]] = []
        for start in range(0, len(work.sample_ids), config.micro_batch):
            rows = slice(start, start + config.micro_batch)
            ids = list(work.sample_ids[rows])
            seeds = [sample_seed(config.seed, i, work.attempt) for i in ids]
            pixels = self._denoise(conditions[rows], seeds)
            pending.append(self.encoder.submit(self._finish, ids, conditions[rows], seeds, pixels))
        batches = [future.result() for future in pending]
        samples = [sample for batch in batches for sample in batch.samples]
        self._write(work, samples, self._rejections(batches))
        return len(samples)

    def _rejections(self, batches: Sequence["_Batch"]) -> list[SampleRejection]:
        """Return the rejections of a shard, in the order of their ids; all its samples are searched at once."""
        rejections = [rejection for batch in batches for rejection in batch.rejections]
        rejected = {rejection.sample_id for rejection in rejections}
        ids = np.array([sample.sample_id for batch in batches for sample in batch.samples], np.int64)
        sound = ~np.isin(ids, list(rejected))
        descriptors_SD = np.concatenate([batch.descriptors_BD for batch in batches])[sound]
        rejections += check_copies(ids[sound].tolist(), descriptors_SD, self.reference, self.calibration.threshold)
        return sorted(rejections, key=lambda rejection: rejection.sample_id)

    def _denoise(self, conditions: Sequence[LabelRow], seeds: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images of one micro-batch, (B, H, W, 3)."""
        config = self.task.plan.config
        vectors = encode_conditions(conditions)
        requests = [RowRequest(vector, seed, config.solver) for vector, seed in zip(vectors, seeds, strict=True)]
        return self.engine.run(requests, config.micro_batch)

    def _finish(
        self, sample_ids: list[int], conditions: Sequence[LabelRow], seeds: Sequence[int], pixels: NDArray[np.uint8]
    ) -> "_Batch":
        """Encode one micro-batch, then annotate and check the images that the files decode to (JPEG changes pixels)."""
        config = self.task.plan.config
        torch.set_num_threads(config.resources.num_threads)  # torch keeps this number per thread
        encoded = [
            encode_image(image, config.image_format, seed=seed, model=self.generator_digest)
            for image, seed in zip(pixels, seeds, strict=True)
        ]
        decoded = decode_files(encoded, pixels.shape[1:])
        stored = np.stack([raw if image is None else image for raw, image in zip(pixels, decoded, strict=True)])
        predicted = self.annotator.predict(stored)
        samples = [
            Sample(sample_id, image, condition, annotation, p_V, seed)
            for sample_id, image, condition, annotation, p_V, seed in zip(
                sample_ids, encoded, conditions, predicted.annotations, predicted.probability_BV, seeds, strict=True
            )
        ]
        return _Batch(samples, check_files(sample_ids, decoded), self.detector.descriptors(stored))

    def _write(self, work: ShardWork, samples: Sequence[Sample], rejections: Sequence[SampleRejection]) -> None:
        """Write the shard, then its record, which marks the shard as finished."""
        storage, folder = self.task.storage, self.task.folder
        written = storage.write_once(work.name(folder), encode_shard(samples))
        record = ShardRecord(
            num_rows=len(samples),
            size_bytes=written.size_bytes,
            sha256=written.sha256,
            rejected=tuple(rejections),
        )
        storage.write_once(work.record_name(folder), record.to_json())
