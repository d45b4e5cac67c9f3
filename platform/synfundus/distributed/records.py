"""Files that a training keeps below `runs/<run name>/`, besides Ray Train's own state.

`losses.json` (the loss curve), `progress.json` (the latest step, which the driver shows), `sheets/` (images of the
model's progress) and `tensorboard/`. Objects cannot be appended to, so each file is replaced as a whole.
"""

import io
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synfundus.distributed.task import TrainingTask
from synfundus.errors import SynfundusError
from synfundus.metadata import Metadata
from synfundus.progress import Progress
from synfundus.training.learner import Learner
from synfundus.training.metadata import LOSSES_FILE, LossCurve, StepMetrics

PROGRESS_FILE = "progress.json"
PROGRESS_PERIOD_S = 1.0


class LatestStep(Metadata):
    """`progress.json` of a run."""

    step: int
    """Optimiser steps done."""
    loss: float
    """Loss of that step on rank 0."""


class RunRecords:
    """Records of one training, written by rank 0."""

    def __init__(self, task: TrainingTask, start: int, losses: list[StepMetrics], folder: Path) -> None:
        """Continue the records after `start` steps, whose loss curve is `losses`.

        Args:
            folder: an empty folder of this machine, where TensorBoard writes its files first.
        """
        from torch.utils.tensorboard import SummaryWriter

        self.losses = losses
        self._task, self._folder = task, folder
        self._writer = SummaryWriter(str(folder), purge_step=start)
        self._latest: StepMetrics | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write_latest, daemon=True)
        self._thread.start()

    def _write_latest(self) -> None:
        """Write the latest step once per period, in a thread of its own so that slow storage never delays a step."""
        while not self._closing.wait(PROGRESS_PERIOD_S):
            latest, self._latest = self._latest, None
            if latest is not None:
                with suppress(SynfundusError):  # for display only; the next checkpoint reports a full disk
                    self._put(PROGRESS_FILE, LatestStep(step=latest.step, loss=latest.loss).to_json())

    def close(self) -> None:
        """Stop the thread and close TensorBoard's files."""
        self._closing.set()
        self._thread.join()
        self._writer.close()

    def _put(self, name: str, data: bytes) -> None:
        self._task.storage.replace(f"runs/{self._task.run_name}/{name}", data)

    def note(self, metrics: StepMetrics) -> None:
        """Take the metrics of a step."""
        config = self._task.config
        if metrics.step % config.log_every_steps == 0 or metrics.step == config.num_steps:
            self.losses.append(metrics)
            for name in ("loss", "gradient_norm", "learning_rate"):
                self._writer.add_scalar(name, getattr(metrics, name), metrics.step)
        self._latest = metrics

    def flush(self, step: int, learner: Learner) -> None:
        """Measure held-out loss and memorisation, and write loss curves, TensorBoard's files and a sheet.

        Called at a checkpoint.
        """
        held_out = learner.held_out_loss(step)
        if held_out is not None:
            learner.held_out_losses.append(held_out)
            self._writer.add_scalar("held_out_loss", held_out.loss, step)
        near = learner.memorisation(step)
        if near is not None:
            learner.memorisation_points.append(near)
            self._writer.add_scalar("smallest_distance_ratio", min(near.ratios), step)
        sheet = learner.sheet()
        if sheet is not None:
            self._put(f"sheets/step-{step:07d}.png", _png(sheet))
            self._writer.add_image("sheet", sheet, step, dataformats="HWC")
        self._writer.flush()
        curve = LossCurve(steps=tuple(self.losses), held_out=tuple(learner.held_out_losses))
        self._put(LOSSES_FILE, curve.to_json())
        for path in sorted(self._folder.iterdir()):
            self._put(f"tensorboard/{path.name}", path.read_bytes())


def _png(pixels_HWC: NDArray[np.uint8]) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels_HWC).save(sink, "PNG")
    return sink.getvalue()


@contextmanager
def run_records(task: TrainingTask, start: int, losses: list[StepMetrics], rank: int) -> Iterator[RunRecords | None]:
    """Keep the records of rank 0, and remove its temporary folder at the end; other ranks have none."""
    if rank:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="synfundus-tensorboard-", ignore_cleanup_errors=True) as folder:
        records = RunRecords(task, start, losses, Path(folder))
        try:
            yield records
        finally:
            records.close()


@contextmanager
def shown_progress(task: TrainingTask, progress: Progress) -> Iterator[None]:
    """Show the latest step that rank 0 wrote, in a thread, while the body runs."""
    name = f"runs/{task.run_name}/{PROGRESS_FILE}"
    task.storage.remove(name)  # the file of an earlier run may hold a later step
    stop = threading.Event()

    def follow() -> None:
        while not stop.wait(PROGRESS_PERIOD_S):
            with suppress(SynfundusError):  # the file may be missing, or may be replaced while it is read
                if task.storage.exists(name):
                    latest = LatestStep.from_json(task.storage.read(name), name)
                    progress.update(latest.step, f"loss {latest.loss:.4f}")

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join()
