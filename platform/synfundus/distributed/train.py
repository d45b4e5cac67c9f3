"""Trains a `Learner` on Ray Train: any number of workers, checkpoints, resume after a kill, the run's records.

Files below `runs/<run name>/`: Ray Train's own state in `train/`, `losses.json`, `progress.json` (what the driver
shows), `sheets/` and `tensorboard/`. The run's name is the study's and the stage's: a retried job finds its own state.
"""

import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from synfundus.digests import canonical_json
from synfundus.distributed import failures
from synfundus.errors import FullDiskError, SynfundusError, TrainingDivergedError, WrongInputError
from synfundus.progress import Progress
from synfundus.stages.record import CHECKPOINT_FACTS
from synfundus.storage import FULL_DISK, Storage
from synfundus.training.config import OptimisationConfig
from synfundus.training.learner import Learner

STATE_FILE, FACTS_FILE = "state.safetensors", CHECKPOINT_FACTS
PROGRESS_FILE = "progress.json"
MAX_FAILURES = 3
"""Times that a group of workers is started again after a crash, from its last checkpoint."""
PROGRESS_PERIOD_S = 1.0


class TrainingTask(Protocol):
    """What is trained: made on the driver, sent to the workers, so it holds settings and no tensors."""

    @property
    def config(self) -> OptimisationConfig: ...

    @property
    def storage(self) -> Storage: ...

    @property
    def run_name(self) -> str:
        """Folder below `runs/`."""
        ...

    def build(self, device: torch.device, rank: int, world_size: int) -> Learner:
        """A learner at step 0; called on each worker."""
        ...

    def finish(self, learner: Learner, losses: list[dict[str, float]]) -> dict[str, Any]:
        """Write the trained model; called on rank 0 after the last step. Returns facts for the summary."""
        ...


@dataclass
class _Records:
    """What rank 0 writes down. Local files first, then replaced as whole objects, for a store cannot append."""

    task: TrainingTask
    start: int
    losses: list[dict[str, float]]
    folder: Path

    def __post_init__(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.folder), purge_step=self.start)
        self.latest: dict[str, float] | None = None
        self.closing = threading.Event()
        self.teller = threading.Thread(target=self._tell, daemon=True)
        self.teller.start()

    def _tell(self) -> None:
        """Write what `note` was last told, a period after the other: beside the steps, which no disk shall hold up."""
        while not self.closing.wait(PROGRESS_PERIOD_S):
            latest, self.latest = self.latest, None
            if latest is not None:
                with suppress(SynfundusError):  # only shown; a full disk is met at the next checkpoint
                    self._put(PROGRESS_FILE, canonical_json(latest))

    def close(self) -> None:
        self.closing.set()
        self.teller.join()
        self.writer.close()

    def _put(self, name: str, data: bytes) -> None:
        self.task.storage.replace(f"runs/{self.task.run_name}/{name}", data)

    def note(self, step: int, metrics: dict[str, float]) -> None:
        config = self.task.config
        if (step + 1) % config.log_every_steps == 0 or step + 1 == config.num_steps:
            self.losses.append({"step": step + 1, **metrics})
            for key, value in metrics.items():
                self.writer.add_scalar(key, value, step + 1)
        self.latest = {"step": step + 1, "num_steps": config.num_steps, "loss": metrics["loss"]}

    def flush(self, step: int, learner: Learner) -> None:
        """At a checkpoint: losses, TensorBoard files and a sheet of what the model draws."""
        sheet = learner.sheet()
        if sheet is not None:
            self._put(f"sheets/step-{step:07d}.png", _png(sheet))
            self.writer.add_image("sheet", sheet, step, dataformats="HWC")
        self.writer.flush()
        self._put("losses.json", canonical_json(self.losses))
        for path in sorted(self.folder.iterdir()):
            self._put(f"tensorboard/{path.name}", path.read_bytes())


def _png(pixels_HWC: np.ndarray[Any, Any]) -> bytes:
    import io

    from PIL import Image

    sink = io.BytesIO()
    Image.fromarray(pixels_HWC).save(sink, "PNG")
    return sink.getvalue()


def _save_state(folder: Path, learner: Learner, step: int, losses: list[dict[str, float]]) -> None:
    save_file(learner.state(), folder / STATE_FILE)
    (folder / FACTS_FILE).write_bytes(canonical_json({"step": step, "losses": losses}))


def _resume(learner: Learner, folder: str) -> tuple[int, list[dict[str, float]]]:
    learner.load_state(load_file(Path(folder) / STATE_FILE))
    facts = json.loads((Path(folder) / FACTS_FILE).read_text())
    return int(facts["step"]), facts["losses"]


def train_loop(settings: dict[str, Any]) -> dict[str, Any]:
    """What each Ray Train worker runs. Returns the facts of `finish`.

    A failure that a new start of the workers would only repeat is returned, packed, as `failure`.
    """
    import ray.train

    task: TrainingTask = settings["task"]
    config, context = task.config, ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(config.num_threads)
    device = ray.train.torch.get_device() if config.use_gpu else torch.device("cpu")
    try:
        learner = task.build(device, rank, world_size)
    except WrongInputError as error:  # every rank sees it: all are built from the same
        return {failures.KEY: failures.pack(error)}
    start, losses = 0, list[dict[str, float]]()
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start, losses = _resume(learner, folder)
    try:
        _steps(task, learner, start, losses, rank)
    except TrainingDivergedError as error:  # every rank sees it: gradients are averaged over all
        return {failures.KEY: failures.pack(error)}
    except Exception as error:
        full = _full_disk(error, task)
        if full is None or world_size > 1:  # the others wait for this rank; only the end of all frees them
            raise
        return {failures.KEY: failures.pack(full)}
    try:
        return task.finish(learner, losses) if rank == 0 else {}
    except SynfundusError as error:  # nobody waits for this rank any more
        return {failures.KEY: failures.pack(error)}


def _steps(task: TrainingTask, learner: Learner, start: int, losses: list[dict[str, float]], rank: int) -> None:
    """All steps that are left, with their checkpoints."""
    config = task.config
    with _records(task, start, losses, rank) as records:
        for step in range(start, config.num_steps):
            metrics = learner.train_step(step)
            if records:
                records.note(step, metrics)
            done = step + 1
            if done % config.checkpoint_every_steps == 0 or done == config.num_steps:
                _report(learner, done, records)


def _full_disk(error: BaseException, task: TrainingTask) -> FullDiskError | None:
    """The error if it is that of a full disk, ours or that of Ray Train's checkpoints; else None."""
    if isinstance(error, FullDiskError):
        return error
    if isinstance(error, OSError) and (error.errno in FULL_DISK or "No space left on device" in str(error)):
        return FullDiskError(
            f"disk full while training {task.run_name}; free some space and run the same command again"
        )
    return None


@contextmanager
def _records(task: TrainingTask, start: int, losses: list[dict[str, float]], rank: int) -> Iterator["_Records | None"]:
    """The records of rank 0, whose temporary folder goes when they close."""
    if rank:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="synfundus-tensorboard-", ignore_cleanup_errors=True) as folder:
        records = _Records(task, start, losses, Path(folder))
        try:
            yield records
        finally:
            records.close()


def _report(learner: Learner, step: int, records: _Records | None) -> None:
    """A checkpoint; every rank takes part, for Ray Train's report is a barrier."""
    import ray.train

    name = f"step-{step:07d}"
    if records is None:
        ray.train.report({"step": step}, checkpoint=None, checkpoint_dir_name=name)
        return
    records.flush(step, learner)
    with tempfile.TemporaryDirectory() as folder:
        _save_state(Path(folder), learner, step, records.losses)
        checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({"step": step}, checkpoint=checkpoint, checkpoint_dir_name=name)


def _follow(task: TrainingTask, progress: Progress, stop: threading.Event) -> None:
    """Show what rank 0 last wrote, until told to stop."""
    name = f"runs/{task.run_name}/{PROGRESS_FILE}"
    while not stop.wait(PROGRESS_PERIOD_S):
        if task.storage.exists(name):
            try:
                now = json.loads(task.storage.read(name))
            except (SynfundusError, ValueError):
                continue  # it is being replaced; the next look will do
            progress.update(now["step"], f"loss {now['loss']:.4f}")


def train(task: TrainingTask, progress: Progress) -> dict[str, Any]:
    """Train to the last step, from the last checkpoint if there is one.

    Returns:
        What `task.finish` returned.

    Raises:
        TrainingDivergedError: loss or gradient is not finite; the text says at which step.
        SynfundusError: the workers failed more than `MAX_FAILURES` times.
    """
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    config = task.config
    filesystem, path = task.storage.arrow_location(f"runs/{task.run_name}")
    trainer = TorchTrainer(
        train_loop,
        train_loop_config={"task": task},
        torch_config=TorchConfig(backend="nccl" if config.use_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=config.num_workers, use_gpu=config.use_gpu),
        run_config=RunConfig(
            name="train",
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    task.storage.remove(f"runs/{task.run_name}/{PROGRESS_FILE}")  # of an earlier run, which may have come further
    stop = threading.Event()
    follower = threading.Thread(target=_follow, args=(task, progress, stop), daemon=True)
    follower.start()
    try:
        result = _fit(trainer.fit, task)
    finally:
        stop.set()
        follower.join()
    failures.raise_packed(result.pop(failures.KEY, failures.NONE))
    return result


def _fit(fit: Callable[[], Any], task: TrainingTask) -> dict[str, Any]:
    from ray.train import TrainingFailedError

    try:
        result = _in_thread(fit)
    except TrainingFailedError as error:
        raise _first_cause(error, task) from error
    if result.error is not None:
        raise _first_cause(result.error, task)
    facts: dict[str, Any] = result.return_value or {}
    return facts


def _in_thread(fit: Callable[[], Any]) -> Any:
    """`fit()` in a thread of its own, so that a Ctrl-C reaches the main thread as it does everywhere else.

    In the main thread Ray Train puts a handler of its own in place of Python's, which ends the process with exit code 0
    and stays in place for the stages after.
    """
    outcome: Future[Any] = Future()

    def body() -> None:
        try:
            outcome.set_result(fit())
        except BaseException as error:  # handed on to whoever waits, whatever it is
            outcome.set_exception(error)

    # A daemon: after an interruption nobody waits for it; it ends with the Ray session.
    threading.Thread(target=body, daemon=True).start()
    return outcome.result()


def _first_cause(error: BaseException, task: TrainingTask) -> SynfundusError:
    """A worker's failure as an error of one line."""
    where, cause = "", error
    for rank, found in sorted((getattr(error, "worker_failures", None) or {}).items()):
        where, cause = f" on worker {rank}", found
        break
    text = str(cause).strip()
    if isinstance(cause, SynfundusError):
        return type(cause)(text)
    full = _full_disk(cause, task)
    if full is not None:
        return full
    last = (text.splitlines() or [repr(cause)])[-1].strip()
    return SynfundusError(f"training {task.run_name} failed{where}: {last}")
