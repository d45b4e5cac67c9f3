"""Train a `Learner` on Ray Train: any number of workers, checkpoints, resume after a crash.

Ray Train keeps its state in `runs/<run name>/train/`. The run's name is deterministic, so a retried job resumes its own
run. `distributed/records.py` writes the other files of a run.
"""

import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from synfundus.distributed.map import carry, carry_error, uncarry
from synfundus.distributed.records import RunRecords, run_records, shown_progress
from synfundus.distributed.task import TrainingTask
from synfundus.errors import FullDiskError, SynfundusError, TrainingDivergedError, WrongInputError
from synfundus.progress import Progress
from synfundus.resources import TrainingResources
from synfundus.storage import FULL_DISK
from synfundus.training.learner import Learner
from synfundus.training.metadata import CHECKPOINT_FILE, CheckpointMetadata, StepMetrics

if TYPE_CHECKING:
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

TENSORS_FILE = "state.safetensors"
MAX_FAILURES = 3
"""Number of times that a group of workers is started again after a crash, from its last checkpoint."""


def train(task: TrainingTask, progress: Progress) -> None:
    """Train to the last step, from the last checkpoint if there is one, and write the model.

    Raises:
        TrainingDivergedError: loss or gradient is not finite; the text names the step.
        SynfundusError: the workers failed more than `MAX_FAILURES` times.
    """
    trainer = _trainer(task)
    with shown_progress(task, progress):
        outcome = _fit(trainer.fit, task)
    uncarry(outcome)


def _trainer(task: TrainingTask) -> "TorchTrainer":
    from ray.train import CheckpointConfig, FailureConfig, RunConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    filesystem, path = task.storage.arrow_location(f"runs/{task.run_name}")
    return TorchTrainer(
        train_loop,
        train_loop_config={"task": task},
        torch_config=TorchConfig(backend="nccl" if task.config.resources.num_gpus else "gloo"),
        scaling_config=scaling(task.config.resources),
        run_config=RunConfig(
            name="train",
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )


def scaling(resources: TrainingResources) -> "ScalingConfig":
    """Return the workers that Ray Train starts: one CPU each, or the stated share of a GPU and no CPU."""
    from ray.train import ScalingConfig

    per_worker = {"GPU": resources.num_gpus} if resources.num_gpus else {"CPU": 1}
    return ScalingConfig(
        num_workers=resources.num_workers, use_gpu=resources.num_gpus > 0, resources_per_worker=per_worker
    )


def train_loop(settings: dict[str, Any]) -> bytes:
    """Run one worker of Ray Train: build the learner, resume, take all steps, write the model on rank 0.

    Returns:
        What `carry` returns. Errors that a restart of the workers would only repeat are carried; others are raised, so
        that Ray Train restarts the workers.
    """
    import ray.train

    task: TrainingTask = settings["task"]
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(task.config.resources.num_threads)
    device = ray.train.torch.get_device() if task.config.resources.num_gpus else torch.device("cpu")
    try:
        learner = task.build(device, rank, world_size)
    except WrongInputError as error:  # every rank raises it, because all build from the same input
        return carry_error(error)
    except Exception as error:
        return _carry_full_disk(error, task, world_size)
    with closing(learner):
        return _train(task, learner, rank, world_size)


def _train(task: TrainingTask, learner: Learner, rank: int, world_size: int) -> bytes:
    """Resume, take all steps and write the model on rank 0; return what `train_loop` returns."""
    start, losses = _resume(learner)
    try:
        _take_steps(task, learner, start, losses, rank)
    except TrainingDivergedError as error:  # every rank raises it, because gradients are averaged over all
        return carry_error(error)
    except Exception as error:
        return _carry_full_disk(error, task, world_size)
    return carry(lambda: task.finish(learner, losses) if rank == 0 else None)


def _carry_full_disk(error: Exception, task: TrainingTask, world_size: int) -> bytes:
    """Carry the error of a full disk; raise others, so that Ray Train restarts the workers."""
    full_disk = _full_disk(error, task)
    if full_disk is None or world_size > 1:  # the other ranks wait for this one until the group is restarted
        raise error
    return carry_error(full_disk)


def _take_steps(task: TrainingTask, learner: Learner, start: int, losses: list[StepMetrics], rank: int) -> None:
    """Take all steps from `start` on, with their checkpoints; add to `losses`."""
    config = task.config
    with run_records(task, start, losses, rank) as records:
        for step in range(start, config.num_steps):
            metrics = learner.train_step(step)
            if records:
                records.note(metrics)
            done = step + 1
            if done % config.checkpoint_every_steps == 0 or done == config.num_steps:
                _save_checkpoint(learner, done, records)


def _save_checkpoint(learner: Learner, step: int, records: RunRecords | None) -> None:
    """Save a checkpoint from rank 0. Every rank takes part, because Ray Train's report is a barrier."""
    import ray.train

    name = f"step-{step:07d}"
    if records is None:
        ray.train.report({"step": step}, checkpoint=None, checkpoint_dir_name=name)
        return
    records.flush(step, learner)
    metadata = CheckpointMetadata(
        step=step,
        losses=tuple(records.losses),
        held_out_losses=tuple(learner.held_out_losses),
        memorisation=tuple(learner.memorisation_points),
    )
    with tempfile.TemporaryDirectory() as folder:
        save_file(learner.state(), Path(folder) / TENSORS_FILE)
        (Path(folder) / CHECKPOINT_FILE).write_bytes(metadata.to_json())
        checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({"step": step}, checkpoint=checkpoint, checkpoint_dir_name=name)


def _resume(learner: Learner) -> tuple[int, list[StepMetrics]]:
    """Load the last checkpoint, if there is one, and return its step and loss curve."""
    import ray.train

    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 0, []
    with checkpoint.as_directory() as folder:
        learner.load_state(load_file(Path(folder) / TENSORS_FILE))
        metadata = CheckpointMetadata.from_json((Path(folder) / CHECKPOINT_FILE).read_bytes(), CHECKPOINT_FILE)
    learner.held_out_losses = list(metadata.held_out_losses)
    learner.memorisation_points = list(metadata.memorisation)
    return metadata.step, list(metadata.losses)


def _fit(fit: Callable[[], Any], task: TrainingTask) -> bytes:
    """Return what rank 0 returned.

    Raises:
        SynfundusError: the first failure of a worker.
    """
    from ray.train import TrainingFailedError

    try:
        result = _in_thread(fit)
    except TrainingFailedError as error:
        raise _first_cause(error, task) from error
    if result.error is not None:
        raise _first_cause(result.error, task)
    outcome: bytes = result.return_value
    return outcome


def _in_thread(fit: Callable[[], Any]) -> Any:
    """Run `fit` in a thread, so that Ctrl-C raises KeyboardInterrupt in the main thread as usual.

    In the main thread, Ray Train replaces Python's handler by its own, which ends the process with exit code 0 and
    stays in place for the stages after.
    """
    outcome: Future[Any] = Future()

    def body() -> None:
        try:
            outcome.set_result(fit())
        except BaseException as error:  # raised again in the main thread
            outcome.set_exception(error)

    # A daemon thread does not keep an interrupted process alive; it ends with the Ray session.
    threading.Thread(target=body, daemon=True).start()
    return outcome.result()


def _first_cause(error: BaseException, task: TrainingTask) -> SynfundusError:
    """Return a worker's failure as an error of one line."""
    where, cause = "", error
    for rank, failure in sorted((getattr(error, "worker_failures", None) or {}).items()):
        where, cause = f" on worker {rank}", failure
        break
    text = str(cause).strip()
    if isinstance(cause, SynfundusError):
        return type(cause)(text)
    full_disk = _full_disk(cause, task)
    if full_disk is not None:
        return full_disk
    last = (text.splitlines() or [repr(cause)])[-1].strip()
    return SynfundusError(f"training {task.run_name} failed{where}: {last}")


def _full_disk(error: BaseException, task: TrainingTask) -> FullDiskError | None:
    """Return the error of a full disk, whether ours or that of Ray Train's checkpoints; None for other errors."""
    if isinstance(error, FullDiskError):
        return error
    if isinstance(error, OSError) and (error.errno in FULL_DISK or "No space left on device" in str(error)):
        return FullDiskError(
            f"disk full while training {task.run_name}; free some space and run the same command again"
        )
    return None
