"""Draws a plan over a pool of Ray Data actors: one row of Ray Data is one shard, its object has a row per sample.

An actor denoises, annotates, encodes and checks a shard, writes it once and then its record, a small JSON (hash,
rejected rows). A shard whose record exists is done; so a killed actor, a second run and a full disk cost at most one
shard each. Rejected samples are drawn again with the next attempt's seed, until accepted or out of attempts.
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.diffusion.checkpoint import load_generator
from synfundus.diffusion.engine import Engine, RowRequest
from synfundus.diffusion.noise import sample_seed
from synfundus.digests import canonical_json, sha256_hex
from synfundus.distributed.map import run_on_pool
from synfundus.environment import Environment
from synfundus.errors import AlreadyExistsError, WrongInputError
from synfundus.fundus.dataset import PreparedImages
from synfundus.labels import LabelRow, encode_conditions
from synfundus.measures.copies import COPY_SPACE, copy_descriptor, held_out_threshold, nearest
from synfundus.progress import Progress
from synfundus.samples.plan import Plan
from synfundus.samples.shards import (
    VERIFICATION,
    Sample,
    attempt_folder,
    encode_image,
    encode_shard,
    shard_name,
)
from synfundus.samples.verify import CopyReference, Rejection, check_samples
from synfundus.storage import Storage, Written, is_complete, read_manifest, write_manifest

DESCRIPTOR_BATCH = 256


@dataclass(frozen=True)
class SamplingTask:
    """What an actor needs to know; small, for it is sent to each."""

    storage: Storage
    folder: str
    """`samples/<name>`."""
    generator_folder: str
    annotator_folder: str
    data_folder: str
    plan: Plan
    use_gpu: bool


@dataclass(frozen=True)
class ShardWork:
    """One shard to draw."""

    attempt: int
    shard: int
    sample_ids: Sequence[int]
    """Of attempt 0 a range, so that a plan of a million samples costs nothing here."""

    def name(self, folder: str) -> str:
        """Its object."""
        return f"{folder}/{attempt_folder(self.attempt)}/{shard_name(self.shard)}.parquet"

    def record_name(self, folder: str) -> str:
        """Its record, in a folder of its own: one of Parquet files alone is read as one table by pandas and others."""
        return f"{folder}/records/{attempt_folder(self.attempt)}/{shard_name(self.shard)}.json"


@dataclass(frozen=True)
class ShardStatus:
    """What the record of a shard says."""

    written: Written
    record: Written
    rejections: list[Rejection]


def copy_reference(images: PreparedImages, quantile: float) -> tuple[CopyReference, int]:
    """Descriptors of the training images, with the threshold that held-out photographs set.

    Held out are validation and test part: the generator has seen neither.

    Returns:
        The reference, and how many held-out photographs the threshold rests on.
    """
    training = _descriptors(images, "train")
    held_out = np.concatenate([_descriptors(images, split) for split in ("validation", "test")])
    if not len(held_out):
        raise WrongInputError(
            f"{images.folder} has no held-out photographs, so nearness to training images cannot be judged;"
            " give data.prepare.split_fractions a validation and a test part"
        )
    threshold = held_out_threshold(nearest(held_out, training).distance, quantile)
    return CopyReference(training, threshold), len(held_out)


def _descriptors(images: PreparedImages, split: str) -> NDArray[np.float32]:
    none = copy_descriptor(np.zeros((0, images.size_px, images.size_px, 3), np.uint8))
    return np.concatenate(
        [none, *(copy_descriptor(batch.images_BHWC) for batch in images.batches(split, DESCRIPTOR_BATCH))]
    )


class ShardSampler:
    """One actor of the pool: both models, and a thread that encodes beside the denoising."""

    def __init__(self, task: SamplingTask, work: Sequence[ShardWork], reference: CopyReference) -> None:
        torch.set_num_threads(task.plan.config.num_threads)
        device = torch.device("cuda" if task.use_gpu else "cpu")
        self.task, self.work, self.reference = task, work, reference
        generator = load_generator(task.storage, task.generator_folder, device)
        self.model_digest = generator.digest
        self.engine = Engine(
            generator.unet,
            generator.schedule,
            generator.image_shape,
            device=device,
            dtype=torch.bfloat16 if task.plan.config.precision == "bf16" else torch.float32,
        )
        self.annotator = load_annotator(task.storage, task.annotator_folder, device)
        self.encoder = ThreadPoolExecutor(1)

    def __call__(self, position: int) -> int:
        """Draws the shard at a position in `work`; returns its number of samples."""
        return self._draw(self.work[position])

    def _draw(self, work: ShardWork) -> int:
        conditions = self.task.plan.conditions(work.sample_ids)
        size = self.task.plan.config.micro_batch
        pending: list[Future[tuple[list[Sample], list[Rejection]]]] = []
        for start in range(0, len(work.sample_ids), size):
            part = slice(start, start + size)
            seeds = [sample_seed(self.task.plan.config.seed, i, work.attempt) for i in work.sample_ids[part]]
            pixels = self._denoise(conditions[part], seeds)
            ids = list(work.sample_ids[part])
            pending.append(self.encoder.submit(self._finish, ids, conditions[part], seeds, pixels))
        results = [future.result() for future in pending]
        samples = [sample for part_samples, _ in results for sample in part_samples]
        rejections = [rejection for _, part_rejections in results for rejection in part_rejections]
        self._write(work, encode_shard(samples), rejections)
        return len(samples)

    def _denoise(self, conditions: Sequence[LabelRow], seeds: Sequence[int]) -> NDArray[np.uint8]:
        config = self.task.plan.config
        vectors = encode_conditions(conditions)
        requests = [RowRequest(vector, seed, config.solver) for vector, seed in zip(vectors, seeds, strict=True)]
        return self.engine.run(requests, config.micro_batch)

    def _finish(
        self, sample_ids: list[int], conditions: Sequence[LabelRow], seeds: Sequence[int], pixels: NDArray[np.uint8]
    ) -> tuple[list[Sample], list[Rejection]]:
        """Annotate, encode and check one micro-batch."""
        torch.set_num_threads(self.task.plan.config.num_threads)  # a setting of each thread
        seen = self.annotator.predict(pixels)
        image_format = self.task.plan.config.image_format
        encoded = [
            encode_image(image, image_format, seed=seed, model=self.model_digest)
            for image, seed in zip(pixels, seeds, strict=True)
        ]
        samples = [
            Sample(sample_id, image, condition, annotation, p_V, seed)
            for sample_id, image, condition, annotation, p_V, seed in zip(
                sample_ids, encoded, conditions, seen.annotations, seen.probability_BV, seeds, strict=True
            )
        ]
        return samples, check_samples(sample_ids, encoded, pixels, self.reference)

    def _write(self, work: ShardWork, data: bytes, rejections: list[Rejection]) -> None:
        written = self.task.storage.write_once(work.name(self.task.folder), data)
        record = {
            "num_rows": len(work.sample_ids),
            "size_bytes": written.size_bytes,
            "sha256": written.sha256,
            "rejected": [
                {"sample_id": r.sample_id, "reason": str(r.reason), "distance": r.distance} for r in rejections
            ],
        }
        self.task.storage.write_once(work.record_name(self.task.folder), canonical_json(record))


def _status(task: SamplingTask, work: ShardWork) -> ShardStatus:
    """What a finished shard's record says."""
    name = work.record_name(task.folder)
    data = task.storage.read(name)
    record = json.loads(data)
    rejections = [Rejection(r["sample_id"], r["reason"], r["distance"]) for r in record["rejected"]]
    written = Written(work.name(task.folder), record["size_bytes"], record["sha256"])
    return ShardStatus(written, Written(name, len(data), sha256_hex(data)), rejections)


def _work_of(attempt: int, sample_ids: Sequence[int], shard_rows: int) -> list[ShardWork]:
    return [
        ShardWork(attempt, shard, sample_ids[start : start + shard_rows])
        for shard, start in enumerate(range(0, len(sample_ids), shard_rows))
    ]


def _draw_missing(task: SamplingTask, work: Sequence[ShardWork], reference: Any) -> Iterator[int]:
    """Draw the shards among `work` that are not there yet; yields samples as they are written.

    `reference` is a `CopyReference` in Ray's object store.
    """
    there = set(task.storage.names(task.folder))
    missing = [item for item in work if item.record_name(task.folder) not in there]
    yield sum(len(item.sample_ids) for item in work) - sum(len(item.sample_ids) for item in missing)
    config = task.plan.config
    yield from run_on_pool(
        ShardSampler,
        (task, missing, reference),
        len(missing),
        config.pool_size,
        gpu=task.use_gpu,
        nodes=Environment().sampling_pool,
    )


def sample(task: SamplingTask, progress: Progress) -> dict[str, Any]:
    """Draw, annotate and verify every sample of the plan; replace rejected ones; write the manifest last.

    Returns:
        Counts for the summary: samples, rejected by reason, unresolved.

    Raises:
        WrongInputError: `samples/<name>/` holds another plan.
    """
    import ray

    config = task.plan.config
    try:
        plan_file = task.storage.write_once(f"{task.folder}/plan.json", canonical_json(task.plan.to_dict()))
    except AlreadyExistsError as error:
        raise WrongInputError(
            f"{task.folder} below {task.storage.root} holds samples of another plan;"
            " give the study another name or root"
        ) from error
    if is_complete(task.storage, task.folder):
        return dict(read_manifest(task.storage, task.folder)["summary"])
    reference, num_held_out = copy_reference(PreparedImages(task.storage, task.data_folder), config.held_out_quantile)
    shared = ray.put(reference)
    objects, rejected, attempts = [plan_file], list[dict[str, Any]](), dict[int, int]()
    wanted: Sequence[int] = range(config.num_samples)
    done = 0
    for attempt in range(config.max_attempts):
        work = _work_of(attempt, wanted, config.shard_rows)
        for count in _draw_missing(task, work, shared):
            done += count
            progress.update(min(done, config.num_samples), f"attempt {attempt}" if attempt else "")
        again: list[int] = []
        for status in (_status(task, item) for item in work):
            objects += [status.written, status.record]
            again += [r.sample_id for r in status.rejections]
            rejected += [
                {"sample_id": r.sample_id, "attempt": attempt, "reason": str(r.reason), "distance": r.distance}
                for r in status.rejections
            ]
        attempts.update(dict.fromkeys(wanted, attempt) if attempt else {})
        wanted = again
        if not wanted:
            break
    return _close(task, objects, rejected, attempts, list(wanted), reference.threshold, num_held_out)


def _close(
    task: SamplingTask,
    objects: list[Written],
    rejected: list[dict[str, Any]],
    attempts: dict[int, int],
    unresolved: list[int],
    threshold: float,
    num_held_out: int,
) -> dict[str, Any]:
    """Write `verification.json` and the manifest."""
    config = task.plan.config
    lost = set(unresolved)
    accepted = [[i, attempt] for i, attempt in sorted(attempts.items()) if i not in lost]
    verification = {
        "space": COPY_SPACE,
        "quantile": config.held_out_quantile,
        "threshold": threshold,
        "num_held_out": num_held_out,
        "num_samples": config.num_samples,
        "accepted": {"attempt": accepted},
        "rejected": rejected,
        "unresolved": unresolved,
    }
    name = f"{task.folder}/{VERIFICATION}"
    objects.append(task.storage.write_once(name, canonical_json(verification)))
    reasons: dict[str, int] = {}
    for row in rejected:
        reasons[row["reason"]] = reasons.get(row["reason"], 0) + 1
    summary = {"num_samples": config.num_samples, "rejected": reasons, "unresolved": len(unresolved)}
    facts = {"kind": "samples", "plan_digest": task.plan.digest, "summary": summary}
    write_manifest(task.storage, task.folder, objects, facts)
    return summary
