"""All attempts at the samples of a plan, and the closing of `samples/<name>/`.

Attempt 0 makes every sample. Each later attempt makes the rejected ones again with other seeds, until all are accepted
or `max_attempts` is reached. The caller says where the shards are sampled: in a pool of workers, or in this process.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from synfundus.errors import AlreadyExistsError, WrongInputError
from synfundus.measures.copies import COPY_SPACE
from synfundus.progress import Progress
from synfundus.samples.manifest import SamplesCounts, SamplesManifest
from synfundus.samples.plan import PLAN, Plan
from synfundus.samples.rejection import RejectedAttempt
from synfundus.samples.sampler import SamplingTask
from synfundus.samples.verification import VERIFICATION, AcceptedAttempt, Verification
from synfundus.samples.verify import CopyReference
from synfundus.samples.work import FinishedShard, ShardWork, divide, read_finished
from synfundus.storage import Storage, Written, write_manifest

SampleShards = Callable[[Sequence[ShardWork]], Iterable[int]]
"""Samples and writes shards; yields the number of samples of each as it is finished."""


def sample_plan(
    task: SamplingTask, reference: CopyReference, sample_shards: SampleShards, digest: str, progress: Progress
) -> SamplesManifest:
    """Sample, annotate and check every sample of the plan; write the manifest last and return it.

    Args:
        digest: digest of the stage, for the manifest.

    Raises:
        WrongInputError: the folder holds another plan.
    """
    outcome = _Outcome([_write_plan(task.storage, task.folder, task.plan)])
    num_samples = task.plan.config.num_samples
    sample_ids: Sequence[int] = range(num_samples)
    num_done = 0
    for attempt in range(task.plan.config.max_attempts):
        work = divide(attempt, sample_ids, task.plan.config.shard_rows)
        for count in _sample_missing(task, work, sample_shards):
            num_done += count
            progress.update(min(num_done, num_samples), f"attempt {attempt}" if attempt else "")
        finished = [read_finished(task.storage, task.folder, item) for item in work]
        sample_ids = outcome.add(attempt, sample_ids, finished)
        if not sample_ids:
            break
    return outcome.close(task, reference, sample_ids, digest)


def _write_plan(storage: Storage, folder: str, plan: Plan) -> Written:
    try:
        return storage.write_once(f"{folder}/{PLAN}", plan.to_json())
    except AlreadyExistsError as error:
        raise WrongInputError(
            f"{folder} below {storage.root} holds samples of another plan; give the study another name or root"
        ) from error


def _sample_missing(task: SamplingTask, work: Sequence[ShardWork], sample_shards: SampleShards) -> Iterator[int]:
    """Sample the shards without a record; yield the number of samples finished before, then that of each shard."""
    names = set(task.storage.names(task.folder))
    missing = [item for item in work if item.record_name(task.folder) not in names]
    yield sum(len(item.sample_ids) for item in work) - sum(len(item.sample_ids) for item in missing)
    yield from sample_shards(missing)


@dataclass
class _Outcome:
    """Objects, accepted attempts and rejected attempts so far."""

    objects: list[Written]
    rejected: list[RejectedAttempt] = field(default_factory=list)
    last_attempt: dict[int, int] = field(default_factory=dict)
    """Last attempt at each sample that was rejected at attempt 0."""

    def add(self, attempt: int, sample_ids: Sequence[int], finished: Sequence[FinishedShard]) -> list[int]:
        """Take up the shards of one attempt at `sample_ids`; return the rejected ids."""
        rejections = [rejection for shard in finished for rejection in shard.rejected]
        self.objects += [item for shard in finished for item in shard.objects]
        self.rejected += [RejectedAttempt(**dict(rejection), attempt=attempt) for rejection in rejections]
        if attempt:
            self.last_attempt.update(dict.fromkeys(sample_ids, attempt))
        return [rejection.sample_id for rejection in rejections]

    def close(
        self, task: SamplingTask, reference: CopyReference, unresolved: Sequence[int], digest: str
    ) -> SamplesManifest:
        """Write `verification.json` and the manifest."""
        config, plan, lost = task.plan.config, task.plan, set(unresolved)
        verification = Verification(
            space=COPY_SPACE,
            calibration=reference.calibration,
            num_samples=config.num_samples,
            accepted=tuple(
                AcceptedAttempt(sample_id=i, attempt=attempt)
                for i, attempt in sorted(self.last_attempt.items())
                if i not in lost
            ),
            rejected=tuple(self.rejected),
            unresolved=tuple(unresolved),
        )
        name = f"{task.folder}/{VERIFICATION}"
        self.objects.append(task.storage.write_once(name, verification.to_json()))
        summary = SamplesCounts(
            num_samples=config.num_samples,
            num_combinations=len(plan.combinations),
            rejected=dict(Counter(item.reason for item in self.rejected)),
            num_unresolved=len(unresolved),
            notes=plan.notes,
        )
        manifest = SamplesManifest(
            digest=digest,
            plan_digest=plan.digest,
            generator_digest=plan.generator_digest,
            annotator_digest=plan.annotator_digest,
            origin=task.origin,
            summary=summary,
        )
        return write_manifest(task.storage, task.folder, self.objects, manifest)
