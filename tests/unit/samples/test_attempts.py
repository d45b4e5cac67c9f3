"""Rejected samples are attempted again, finished shards are not repeated, and the folder is closed last."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from support.copies_example import example_calibration
from support.samples_example import example_plan
from synfundus.copies.reference import TrainingReference
from synfundus.errors import WrongInputError
from synfundus.samples.attempts import sample_plan
from synfundus.samples.manifest import SamplesManifest
from synfundus.samples.rejection import SampleRejection, SampleRejectionReason
from synfundus.samples.sampler import SamplingTask
from synfundus.samples.verification import read_verification
from synfundus.samples.verify import CopyReference
from synfundus.samples.work import ShardRecord, ShardWork
from synfundus.storage import LocalStorage, Storage, is_complete

FOLDER = "samples/few"
REFERENCE = CopyReference(TrainingReference(np.zeros((1, 4), np.float32), np.zeros(1, np.int64)), example_calibration())


class Silent:
    def update(self, done: int, note: str = "") -> None: ...


class Sampler:
    """Writes shards of bytes in place of samples, and notes which ones."""

    def __init__(self, storage: Storage, is_rejected: Callable[[int, int], bool]) -> None:
        self.storage, self.is_rejected = storage, is_rejected
        self.sampled: list[tuple[int, int]] = []
        """Attempt and number of each shard."""

    def __call__(self, work: Sequence[ShardWork]) -> Iterator[int]:
        for item in work:
            self.sampled.append((item.attempt, item.shard))
            written = self.storage.write_once(item.name(FOLDER), f"{item.attempt} {list(item.sample_ids)}".encode())
            blank = SampleRejectionReason.BLANK
            record = ShardRecord(
                num_rows=len(item.sample_ids),
                size_bytes=written.size_bytes,
                sha256=written.sha256,
                rejected=tuple(
                    SampleRejection(sample_id=i, reason=blank)
                    for i in item.sample_ids
                    if self.is_rejected(i, item.attempt)
                ),
            )
            self.storage.write_once(item.record_name(FOLDER), record.to_json())
            yield len(item.sample_ids)


def _path(storage: Storage, name: str) -> Path:
    assert isinstance(storage, LocalStorage)
    return storage.path(f"{FOLDER}/{name}")


def _sample(storage: Storage, sampler: Sampler, **settings: object) -> SamplesManifest:
    plan = example_plan()
    plan = plan.model_copy(update={"config": plan.config.model_copy(update=settings)})
    task = SamplingTask(storage, FOLDER, "generators/g", "annotators/a", "data/d", plan)
    return sample_plan(task, REFERENCE, sampler, "digest", Silent())


def test_a_rejected_sample_is_attempted_again_until_it_is_accepted(storage: Storage) -> None:
    sampler = Sampler(storage, lambda i, attempt: i == 5 and attempt < 2)
    manifest = _sample(storage, sampler)
    assert sampler.sampled == [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0)]
    assert manifest.summary.rejected == {SampleRejectionReason.BLANK: 2}
    assert manifest.summary.num_unresolved == 0
    verification = read_verification(storage, FOLDER, manifest)
    assert [(item.sample_id, item.attempt) for item in verification.accepted] == [(5, 2)]
    assert [(item.sample_id, item.attempt) for item in verification.rejected] == [(5, 0), (5, 1)]


def test_a_sample_without_an_accepted_attempt_is_unresolved(storage: Storage) -> None:
    manifest = _sample(storage, Sampler(storage, lambda i, _: i in (1, 7)), max_attempts=3)
    verification = read_verification(storage, FOLDER, manifest)
    assert verification.unresolved == (1, 7)
    assert verification.accepted == ()
    assert manifest.summary.num_accepted == 10


def test_a_shard_without_a_record_is_sampled_again_and_no_other(storage: Storage) -> None:
    first = Sampler(storage, lambda *_: False)
    manifest = _sample(storage, first)
    for name in ("manifest.json", "verification.json", "records/shards/shard-00001.json"):
        _path(storage, name).unlink()
    second = Sampler(storage, lambda *_: False)
    assert _sample(storage, second) == manifest
    assert second.sampled == [(0, 1)]


def test_the_manifest_names_every_object(storage: Storage) -> None:
    manifest = _sample(storage, Sampler(storage, lambda i, attempt: i == 3 and attempt == 0))
    names = {name.removeprefix(f"{FOLDER}/") for name in storage.names(FOLDER)}
    assert set(manifest.files) == names - {"manifest.json"}
    assert {"plan.json", "verification.json", "replacements/1/shard-00000.parquet"} < set(manifest.files)


def test_samples_of_another_plan_are_refused(storage: Storage) -> None:
    sampler = Sampler(storage, lambda *_: False)
    _sample(storage, sampler)
    _path(storage, "manifest.json").unlink()
    with pytest.raises(WrongInputError, match="holds samples of another plan"):
        _sample(storage, sampler, seed=1)
    assert not is_complete(storage, FOLDER)
