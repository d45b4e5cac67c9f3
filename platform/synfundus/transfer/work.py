"""Train a cell: its trials, the choice among them, and the predictions of the chosen network."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from synfundus.diagnosis.annotator import NetworkScorer
from synfundus.diagnosis.held_out import Predictions, encode_held_out
from synfundus.diagnosis.manifest import CONFIG, WEIGHTS
from synfundus.diagnosis.measuring import predict_split
from synfundus.diagnosis.model import ModelSpec, build_annotator
from synfundus.digests import canonical_json
from synfundus.errors import TrainingDivergedError, WrongInputError
from synfundus.fundus.splits import HELD_OUT_SPLITS
from synfundus.transfer.cells import Cell
from synfundus.transfer.external import predict_external
from synfundus.transfer.files import Outcome, write_cell
from synfundus.transfer.learner import CellLearner
from synfundus.transfer.manifest import PREDICTIONS
from synfundus.transfer.predictions import external_key
from synfundus.transfer.records import CellRecord, Trial
from synfundus.transfer.sources import CellPlaces, CellSources
from synfundus.transfer.state import TrialState


@dataclass(frozen=True)
class TrainedTrial:
    """A finished trial and its best weights."""

    record: Trial
    weights: dict[str, Tensor]
    """Empty if the training diverged before the first measure."""


class CellTrainer:
    """A worker of the pool: trains one cell after the other."""

    def __init__(self, places: CellPlaces, run: str, num_threads: int, device: str) -> None:
        """Open nothing yet.

        Args:
            run: folder below `runs/` for the state of trials in progress.
        """
        torch.set_num_threads(num_threads)
        self.sources, self.run, self.device = CellSources(places), run, torch.device(device)

    def __call__(self, cell: Cell) -> str:
        """Train a cell, write it, and return its digest."""
        write_cell(self.sources.storage, cell, self._outcome(cell))
        for number in range(len(cell.learning_rates)):
            self._state(cell, number).remove()
        return cell.digest

    def _state(self, cell: Cell, number: int) -> TrialState:
        return TrialState(self.sources.storage, f"runs/{self.run}/{cell.digest}-{number}")

    def _outcome(self, cell: Cell) -> Outcome:
        missing = self.sources.missing_start(cell)
        if missing is not None:
            return Outcome.not_computed(cell, f"the network to start from was not computed ({missing})")
        start = self.sources.start(cell)
        try:
            trials = [self._trial(cell, number, start) for number in range(len(cell.learning_rates))]
        except WrongInputError as error:  # of the cell itself: no label to learn, too few samples, weights do not fit
            return Outcome.not_computed(cell, str(error))
        return finish_cell(self.sources, cell, trials, self.device)

    def _trial(self, cell: Cell, number: int, start: Mapping[str, Tensor] | None) -> TrainedTrial:
        images, held_out = self.sources.training_images(cell).images, self.sources.photographs
        with closing(CellLearner(images, held_out, cell.trial_config(number), self.device, start=start)) as learner:
            return train_trial(learner, self._state(cell, number))


def train_trial(learner: CellLearner, state: TrialState | None = None) -> TrainedTrial:
    """Take all steps of a trial that is at step 0, and measure the validation AUC at its checkpoints.

    A training that diverges keeps the points before that step.

    Args:
        state: where an interrupted trial goes on.
    """
    config, diverged = learner.config, None
    try:
        for step in range(state.restore(learner) if state else 0, config.num_steps):
            learner.train_step(step)
            done = step + 1
            if done % config.checkpoint_every_steps == 0 or done == config.num_steps:
                learner.validate(done)
                if state:
                    state.save(learner, done)
    except TrainingDivergedError as error:
        diverged = str(error)
    return TrainedTrial(trial_record(learner, diverged), learner.best)


def trial_record(learner: CellLearner, diverged: str | None = None) -> Trial:
    """Return the record of a trial that has taken its last step, or diverged."""
    return Trial(
        learning_rate=learner.config.learning_rate,
        curve=tuple(learner.curve),
        diverged=diverged,
        fresh_tensors=learner.fresh_tensors,
    )


def choose_trial(trials: Sequence[Trial]) -> int | None:
    """Return the number of the trial with the largest validation AUC, the first among equal ones.

    A trial that diverged cannot be chosen. None: all of them diverged.
    """
    best = {
        number: trial.best.auc
        for number, trial in enumerate(trials)
        if trial.best is not None and trial.diverged is None
    }
    return max(best, key=best.__getitem__) if best else None


def finish_cell(sources: CellSources, cell: Cell, trials: Sequence[TrainedTrial], device: torch.device) -> Outcome:
    """Choose a trial, predict all held-out images with its weights, and return what is to be written."""
    records = tuple(trial.record for trial in trials)
    chosen = choose_trial(records)
    images = sources.training_images(cell)
    record = CellRecord(cell=cell, images=images.described(images.images.count()), trials=records, chosen=chosen)
    if chosen is None:
        return Outcome(record.model_copy(update={"reason": f"every trial diverged: {records[-1].diverged}"}), {})
    weights, spec = trials[chosen].weights, ModelSpec.of(cell.training.architecture, cell.training.image_size_px)
    network = build_annotator(spec.architecture, spec.num_classes, model_args=spec.model_args)
    network.load_state_dict(weights)
    predictions = _predict(sources, NetworkScorer(network, spec, device))
    files = {
        CONFIG: canonical_json(spec.timm_config(network)),
        WEIGHTS: save_tensors(weights),
        PREDICTIONS: encode_held_out(predictions),
    }
    return Outcome(record, files)


def _predict(sources: CellSources, scorer: NetworkScorer) -> dict[str, Predictions]:
    """Return the predictions on both held-out splits and on each external dataset."""
    own = sources.photographs
    predictions = {split: predict_split(scorer, own, split) for split in HELD_OUT_SPLITS}
    for name, other in sources.external.items():
        predictions[external_key(name)] = predict_external(scorer, own, other)
    return predictions
