"""The cells of a grid on Ray: a pool of processes that stay, or Ray Train for cells with several workers.

The import of this file loads torch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.distributed.map import run_on_pool
from synfundus.distributed.train import train
from synfundus.errors import TrainingDivergedError, WrongInputError, WrongWeightsError
from synfundus.progress import Progress
from synfundus.resources import PoolResources
from synfundus.storage import Storage, is_complete
from synfundus.training.learner import Learner
from synfundus.training.metadata import StepMetrics
from synfundus.transfer.cells import Cell
from synfundus.transfer.config import CellResources
from synfundus.transfer.files import Outcome, write_cell
from synfundus.transfer.grid import Grid
from synfundus.transfer.learner import CellLearner
from synfundus.transfer.manifest import cell_folder
from synfundus.transfer.records import Trial
from synfundus.transfer.sources import CellPlaces, CellSources
from synfundus.transfer.work import CellTrainer, TrainedTrial, finish_cell, trial_record

TRIAL, WEIGHTS = "trial.json", "trial.safetensors"
"""Result of one trial on Ray Train, in the folder of its run."""


def train_grid(places: CellPlaces, grid: Grid, resources: CellResources, run: str, progress: Progress) -> None:
    """Train all cells of a grid that are not complete, wave by wave.

    Args:
        run: folder below `runs/` for the state of trainings in progress.
    """
    missing = [[cell for cell in wave if not _is_complete(places.storage, cell)] for wave in grid.waves]
    done = grid.num_steps - sum(cell.num_steps for wave in missing for cell in wave)
    progress.update(done)  # the rate counts from here
    for number, wave in enumerate(missing, 1):
        finished = (
            _on_ray_train(places, wave, run) if resources.num_workers > 1 else _on_pool(places, wave, resources, run)
        )
        for digest in finished:
            done += grid.cells[digest].num_steps
            progress.update(done, f"wave {number} of {len(missing)}")


def _is_complete(storage: Storage, cell: Cell) -> bool:
    return is_complete(storage, cell_folder(cell.digest))


def _on_pool(places: CellPlaces, cells: Sequence[Cell], resources: CellResources, run: str) -> Iterator[str]:
    pool = PoolResources(pool_size=resources.pool_size, num_gpus=resources.num_gpus, num_threads=resources.num_threads)
    arguments = (places, run, resources.num_threads, resources.device)
    return run_on_pool(CellTrainer, arguments, cells, pool)


def _on_ray_train(places: CellPlaces, cells: Sequence[Cell], run: str) -> Iterator[str]:
    """Train one cell after the other, each trial on Ray Train; the cell is finished on one more worker.

    Raises:
        WrongWeightsError: a file of initial weights cannot be read. Its cell is not written, so that the next run tries
            again.
    """
    for cell in cells:
        reason: str | None = None
        for number in range(len(cell.learning_rates)):
            try:
                TrialTask(places, cell, number, run).train()
            except WrongWeightsError:
                raise
            except WrongInputError as error:  # of the cell itself, as in `CellTrainer`
                reason = str(error)
                break
        one = PoolResources(pool_size=1, num_gpus=cell.training.resources.num_gpus)
        yield from run_on_pool(CellFinisher, (places, run), [(cell, reason)], one)


class _Silent:
    """Progress of a trial, which is shown when its cell is complete."""

    def update(self, done: int, note: str = "") -> None: ...


@dataclass(frozen=True)
class TrialTask:
    """Training of one trial of a cell on Ray Train. Its result lies in the folder of its run."""

    places: CellPlaces
    cell: Cell
    number: int
    grid_run: str
    """Folder of the grid below `runs/`."""

    @property
    def config(self) -> AnnotatorConfig:
        return self.cell.trial_config(self.number)

    @property
    def storage(self) -> Storage:
        return self.places.storage

    @property
    def run_name(self) -> str:
        return f"{self.grid_run}/{self.cell.digest}-{self.number}"

    def train(self) -> None:
        """Train, unless there is a result; keep the message of a training that diverged.

        Raises:
            WrongInputError: the cell cannot be trained.
        """
        if self.storage.exists(self._name(TRIAL)):
            return
        try:
            train(self, _Silent())
        except TrainingDivergedError as error:
            self._keep(TrainedTrial(Trial(learning_rate=self.config.learning_rate, curve=(), diverged=str(error)), {}))

    def build(self, device: torch.device, rank: int, world_size: int) -> CellLearner:
        """Return a learner at step 0.

        Raises:
            WrongInputError: the cell cannot be trained.
        """
        sources = CellSources(self.places)
        if (missing := sources.missing_start(self.cell)) is not None:
            raise WrongInputError(f"the network to start from was not computed ({missing})")
        images, held_out = sources.training_images(self.cell).images, sources.photographs
        start = sources.start(self.cell)
        return CellLearner(images, held_out, self.config, device, rank, world_size, start=start)

    def finish(self, learner: Learner, losses: Sequence[StepMetrics]) -> None:  # noqa: ARG002  the curve is enough
        """Keep the result of the trial."""
        assert isinstance(learner, CellLearner)
        self._keep(TrainedTrial(trial_record(learner), learner.best))

    def result(self) -> TrainedTrial:
        """Return the result that was kept."""
        record = Trial.from_json(self.storage.read(self._name(TRIAL)), self._name(TRIAL))
        return TrainedTrial(record, load_tensors(self.storage.read(self._name(WEIGHTS))))

    def remove(self) -> None:
        """Remove result and checkpoints. Checkpoints would stop the grid from being extended; see `start_record`."""
        for name in list(self.storage.names(f"runs/{self.run_name}")):
            self.storage.remove(name)

    def _keep(self, trial: TrainedTrial) -> None:
        self.storage.replace(self._name(WEIGHTS), save_tensors(trial.weights))
        self.storage.replace(self._name(TRIAL), trial.record.to_json())  # last: it marks the trial as finished

    def _name(self, file: str) -> str:
        return f"runs/{self.run_name}/{file}"


class CellFinisher:
    """A worker that predicts with the chosen trial of a cell, and writes the cell."""

    def __init__(self, places: CellPlaces, run: str) -> None:
        """Open nothing yet."""
        self.sources, self.run = CellSources(places), run

    def __call__(self, item: tuple[Cell, str | None]) -> str:
        """Write a cell, remove what its trials left below `runs/`, and return its digest.

        Args:
            item: the cell, and why it was not computed, if so.
        """
        cell, reason = item
        resources = cell.training.resources
        torch.set_num_threads(resources.num_threads)
        if reason is None:
            numbers = range(len(cell.learning_rates))
            trials = [TrialTask(self.sources.places, cell, number, self.run).result() for number in numbers]
            device = torch.device(resources.device)
            outcome = finish_cell(self.sources, cell, trials, device)
        else:
            outcome = Outcome.not_computed(cell, reason)
        write_cell(self.sources.storage, cell, outcome)
        for number in range(len(cell.learning_rates)):
            TrialTask(self.sources.places, cell, number, self.run).remove()
        return cell.digest
