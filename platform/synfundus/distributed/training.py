"""Trains a `Learner` on Ray Train: any number of workers, checkpoints, resume after a kill, the run's records.

Files below `runs/<run name>/`: Ray Train's own state in `train/`, `losses.json`, `progress.json` (what the driver
shows), `sheets/` and `tensorboard/`. The run's name is the study's and the stage's: a retried job finds its own state.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from synfundus.errors import SynfundusError, TrainingDivergedError
from synfundus.learning import Learner, OptimisationConfig
from synfundus.progress import Progress
from synfundus.storage import Storage, canonical_json

STATE_FILE, FACTS_FILE = "state.safetensors", "facts.json"
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
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="synfundus-tensorboard-")))
    shown_s: float = 0.0

    def __post_init__(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.folder), purge_step=self.start)

    def _put(self, name: str, data: bytes) -> None:
        self.task.storage.replace(f"runs/{self.task.run_name}/{name}", data)

    def note(self, step: int, metrics: dict[str, float]) -> None:
        config = self.task.config
        if (step + 1) % config.log_every_steps == 0 or step + 1 == config.num_steps:
            self.losses.append({"step": step + 1, **metrics})
            for key, value in metrics.items():
                self.writer.add_scalar(key, value, step + 1)
        if time.monotonic() - self.shown_s > PROGRESS_PERIOD_S:
            self.shown_s = time.monotonic()
            progress = {"step": step + 1, "num_steps": config.num_steps, "loss": metrics["loss"]}
            self._put("progress.json", canonical_json(progress))

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
    """What each Ray Train worker runs. Returns the facts of `finish`, or `diverged` with the reason."""
    import ray.train

    task: TrainingTask = settings["task"]
    config, context = task.config, ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(config.num_threads)
    device = ray.train.torch.get_device() if config.use_gpu else torch.device("cpu")
    learner = task.build(device, rank, world_size)
    start, losses = 0, list[dict[str, float]]()
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start, losses = _resume(learner, folder)
    records = _Records(task, start, losses) if rank == 0 else None
    for step in range(start, config.num_steps):
        try:
            metrics = learner.train_step(step)
        except TrainingDivergedError as error:  # every rank sees it: gradients are averaged over all
            return {"diverged": str(error)}
        if records:
            records.note(step, metrics)
        done = step + 1
        if done % config.checkpoint_every_steps == 0 or done == config.num_steps:
            _report(learner, done, records)
    return task.finish(learner, records.losses) if records else {}


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
    name = f"runs/{task.run_name}/progress.json"
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
    trainer = TorchTrainer(
        train_loop,
        train_loop_config={"task": task},
        torch_config=TorchConfig(backend="nccl" if config.use_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=config.num_workers, use_gpu=config.use_gpu),
        run_config=RunConfig(
            name="train",
            storage_path=task.storage.uri(f"runs/{task.run_name}"),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    stop = threading.Event()
    follower = threading.Thread(target=_follow, args=(task, progress, stop), daemon=True)
    follower.start()
    try:
        result = _fit(trainer.fit, task)
    finally:
        stop.set()
        follower.join()
    if "diverged" in result:
        raise TrainingDivergedError(result["diverged"])
    return result


def _fit(fit: Callable[[], Any], task: TrainingTask) -> dict[str, Any]:
    from ray.train import TrainingFailedError

    try:
        result = fit()
    except TrainingFailedError as error:
        raise SynfundusError(_first_cause(error, task)) from error
    if result.error is not None:
        raise SynfundusError(_first_cause(result.error, task))
    facts: dict[str, Any] = result.return_value or {}
    return facts


def _first_cause(error: BaseException, task: TrainingTask) -> str:
    """One line of a worker's failure."""
    failures = getattr(error, "worker_failures", {}) or {}
    for rank, cause in sorted(failures.items()):
        lines = str(cause).strip().splitlines() or [repr(cause)]
        return f"training {task.run_name} failed on worker {rank}: {lines[-1].strip()}"
    return f"training {task.run_name} failed: {(str(error).strip().splitlines() or [repr(error)])[-1].strip()}"
