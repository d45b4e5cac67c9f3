"""Errors that come back from Ray's workers keep their kind and fit on one line."""

import errno
import os
from pathlib import Path
from typing import Any, cast

import pytest
from ray.train import TrainingFailedError, WorkerGroupError

from synfundus.distributed import failures
from synfundus.distributed.train import TrainingTask, _first_cause, _in_thread
from synfundus.errors import AlreadyExistsError, FullDiskError, StorageError, SynfundusError, WrongInputError


class Task:
    run_name = "x-generator"


def cause(error: BaseException) -> SynfundusError:
    return _first_cause(error, cast(TrainingTask, Task()))


@pytest.mark.parametrize("error", [WrongInputError("row 3"), AlreadyExistsError("a exists"), StorageError("full")])
def test_a_packed_error_is_raised_as_it_was(error: SynfundusError) -> None:
    with pytest.raises(type(error)) as caught:
        failures.raise_packed(failures.pack(error))
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    failures.raise_packed(failures.NONE)


@pytest.mark.parametrize(
    ("failed", "kind", "said"),
    [
        (StorageError("disk full while writing runs/x"), StorageError, "disk full while writing runs/x"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
            FullDiskError,
            "disk full while training x-generator; free some space and run the same command again",
        ),
        (
            OSError("Error writing bytes. Detail: [errno 28] No space left on device"),
            FullDiskError,
            "disk full while training x-generator; free some space and run the same command again",
        ),
        (
            RuntimeError("a long story\n  of many lines\nends badly"),
            SynfundusError,
            "training x-generator failed on worker 1: ends badly",
        ),
    ],
)
def test_a_workers_failure_is_one_line_of_its_kind(failed: Exception, kind: type[SynfundusError], said: str) -> None:
    error: TrainingFailedError = WorkerGroupError("…", {1: failed})
    assert type(cause(error)) is kind
    assert str(cause(error)) == said


def test_a_failure_without_a_worker_is_told_too() -> None:
    assert str(cause(ValueError())) == "training x-generator failed: ValueError()"


def test_what_a_thread_returns_or_raises_comes_back() -> None:
    assert _in_thread(lambda: 3) == 3

    def fail() -> Any:
        raise WrongInputError("row 3")

    with pytest.raises(WrongInputError, match="row 3"):
        _in_thread(fail)


def test_nothing_of_a_temporary_folder_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard's files of a training lie below `runs/`; where they are written first is cleared."""
    from synfundus.distributed import train as training

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with training._records(cast(TrainingTask, Task()), 0, [], rank=0) as records:
        assert records is not None
        records.writer.add_scalar("loss", 1.0, 1)
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []
    with training._records(cast(TrainingTask, Task()), 0, [], rank=1) as records:
        assert records is None
