"""State of a trial in progress, below `runs/`, so that a killed grid does not repeat a long training."""

import time

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from synfundus.storage import Storage
from synfundus.transfer.learner import CellLearner

SAVE_PERIOD_S = 120.0
"""Seconds between two states. A training that is shorter saves none. No result depends on it."""
STEP = "step"
"""Beginning of a state's name; the number of steps done follows."""


class TrialState:
    """The latest state of one trial, as one object."""

    def __init__(self, storage: Storage, folder: str, period_s: float = SAVE_PERIOD_S) -> None:
        """Write nothing yet.

        Args:
            folder: folder of the trial below `runs/`.
            period_s: seconds between two states.
        """
        self._storage, self._folder, self._period_s = storage, folder, period_s
        self._saved_s = time.monotonic()

    def restore(self, learner: CellLearner) -> int:
        """Load the latest state, if there is one, into a learner at step 0; return the number of steps done."""
        names = list(self._storage.names(self._folder))
        if not names:
            return 0
        learner.load_state(load_tensors(self._storage.read(names[-1])))
        return int(names[-1].rpartition(STEP)[2])

    def save(self, learner: CellLearner, step: int) -> None:
        """Write the state after `step` steps, if the period is over, and remove the one before."""
        if time.monotonic() - self._saved_s < self._period_s:
            return
        before = list(self._storage.names(self._folder))
        self._storage.replace(f"{self._folder}/{STEP}{step:09d}", save_tensors(learner.state()))
        for name in before:
            self._storage.remove(name)
        self._saved_s = time.monotonic()

    def remove(self) -> None:
        """Remove what was written."""
        for name in list(self._storage.names(self._folder)):
            self._storage.remove(name)
