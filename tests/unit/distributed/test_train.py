"""A training on Ray Train: workers, failures, records."""

import errno
import os
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError
from ray.train import TrainingFailedError, WorkerGroupError

from synfundus.distributed.map import uncarry
from synfundus.distributed.records import run_records
from synfundus.distributed.task import TrainingTask
from synfundus.distributed.train import _first_cause, _in_thread, scaling, train_loop
from synfundus.errors import FullDiskError, StorageError, SynfundusError, WrongInputError
from synfundus.resources import TrainingResources
from synfundus.training.config import OptimisationConfig
from synfundus.training.learner import Learner


class Task:
    run_name = "x-generator"


TASK = cast(TrainingTask, Task())
FULL_DISK = "disk full while training x-generator; free some space and run the same command again"


def test_a_worker_takes_a_cpu_or_its_share_of_a_gpu() -> None:
    """A worker on a GPU takes no CPU: nodes have more CPUs than GPUs."""
    for num_workers, num_gpus, expected in ((2, 0, {"CPU": 1}), (2, 1, {"GPU": 1}), (1, 0.25, {"GPU": 0.25})):
        config = scaling(TrainingResources(num_workers=num_workers, num_gpus=num_gpus))
        assert (config.num_workers, config.use_gpu) == (num_workers, num_gpus > 0)
        assert config.resources_per_worker == expected


def test_workers_that_would_share_a_gpu_are_refused_when_the_study_is_read() -> None:
    with pytest.raises(ValidationError, match="2 workers cannot share a GPU"):
        TrainingResources(num_workers=2, num_gpus=0.5)


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        (StorageError("disk full while writing runs/x"), StorageError, "disk full while writing runs/x"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), FullDiskError, FULL_DISK),
        (OSError("Error writing bytes. Detail: [errno 28] No space left on device"), FullDiskError, FULL_DISK),
        (
            RuntimeError("a long story\n  of many lines\nends badly"),
            SynfundusError,
            "training x-generator failed on worker 1: ends badly",
        ),
    ],
)
def test_a_failure_of_a_worker_is_one_line_and_keeps_its_type(
    failure: Exception, kind: type[SynfundusError], message: str
) -> None:
    error: TrainingFailedError = WorkerGroupError("…", {1: failure})
    cause = _first_cause(error, TASK)
    assert type(cause) is kind
    assert str(cause) == message


def test_a_failure_without_a_worker_is_one_line_too() -> None:
    assert str(_first_cause(ValueError(), TASK)) == "training x-generator failed: ValueError()"


class _Context:
    """Place of a worker, as Ray Train states it."""

    def __init__(self, world_size: int) -> None:
        self.world_size = world_size

    def get_world_rank(self) -> int:
        return 0

    def get_world_size(self) -> int:
        return self.world_size


def test_a_full_disk_while_a_lone_worker_copies_its_data_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        run_name = "x-generator"
        config = OptimisationConfig(num_steps=1, batch_size=2, learning_rate=0.1)

        def build(self, *args: object) -> Learner:
            raise FullDiskError("/cache: data/p needs 2.0 GiB, and 1.0 GiB are free")

    monkeypatch.setattr("ray.train.get_context", lambda: _Context(1))
    carried = train_loop({"task": Full()})
    with pytest.raises(FullDiskError, match=r"needs 2\.0 GiB"):
        uncarry(carried)
    monkeypatch.setattr("ray.train.get_context", lambda: _Context(2))
    with pytest.raises(FullDiskError):  # the other workers wait until the group is restarted
        train_loop({"task": Full()})


def test_a_thread_hands_back_what_it_returns_or_raises() -> None:
    assert _in_thread(lambda: 3) == 3

    def fail() -> Any:
        raise WrongInputError("row 3")

    with pytest.raises(WrongInputError, match="row 3"):
        _in_thread(fail)


def test_the_temporary_folder_of_tensorboard_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with run_records(TASK, 0, [], rank=0) as records:
        assert records is not None
        records._writer.add_scalar("loss", 1.0, 1)
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_only_rank_0_keeps_records() -> None:
    with run_records(TASK, 0, [], rank=1) as records:
        assert records is None
