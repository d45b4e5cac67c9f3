"""What a stage is, and the one runner of all stages.

A stage is the unit that a user runs, resumes and pays for. `run_stages` does for every stage the same: is its output
complete? - digest guard - run - summary. A stage writes its manifest last, so an interrupted stage is never complete.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Generic, Protocol, TypeVar

from synfundus.digests import digest_of
from synfundus.distributed.session import ray_session
from synfundus.stages.record import require_same_digest, start_record
from synfundus.storage import Storage, is_complete
from synfundus.study import Study

Rows = list[tuple[str, str]]
"""Name and value, a line each on the user's screen."""
Found = TypeVar("Found")
"""What the check of a stage returns for `describe` and `run`, so that nothing is looked up twice."""


class Summary(Protocol):
    """What a finished stage reports."""

    def rows(self) -> Rows: ...


class Stage(ABC, Generic[Found]):
    """One stage of a study."""

    name: str
    """The verb on the command line, such as `train-annotator`."""
    help: str
    """One line of help."""

    @abstractmethod
    def inputs(self, study: Study) -> tuple[str, ...]:
        """Return the folders that the stage reads, relative to the root."""

    @abstractmethod
    def output(self, study: Study) -> str:
        """Return the folder that the stage writes, relative to the root."""

    @abstractmethod
    def basis(self, study: Study, storage: Storage) -> Mapping[str, Any]:
        """Return everything that the output depends on, as JSON: settings, and digests out of the inputs' manifests.

        Reads manifests only, neither pixels nor weights.

        Raises:
            WrongInputError: an input is not complete.
        """

    @abstractmethod
    def check(self, study: Study, storage: Storage) -> Found:
        """Refuse early what could not end well, and return what was found out on the way. Needs no input folder.

        Raises:
            WrongInputError: a setting, a file or a resource that the stage would fail on.
        """

    @abstractmethod
    def describe(self, study: Study, storage: Storage, found: Found) -> Rows:
        """Return what the stage would do, with counts and bytes. Writes nothing and decodes no image.

        Raises:
            WrongInputError: an input is not complete.
        """

    @abstractmethod
    def run(self, study: Study, storage: Storage, digest: str, found: Found) -> None:
        """Write the output folder; `digest` goes into its manifest, which is written last."""

    @abstractmethod
    def summary(self, study: Study, storage: Storage) -> Summary:
        """Return the summary of the complete output, from its manifest and metadata."""

    def num_workers(self, study: Study) -> int:  # noqa: ARG002  most stages need one
        """Return how many workers the stage asks Ray for at once."""
        return 1

    def run_name(self, study: Study) -> str:
        """Return the folder below `runs/` of this stage's state; a retried job finds it by this name."""
        return f"{study.name}-{self.name.removeprefix('train-')}"


Show = Callable[[str, Rows], None]
"""Shows the summary of the stage with this name."""


def check_stages(stages: Sequence[Stage[Any]], study: Study, storage: Storage) -> dict[str, Any]:
    """Check every stage whose output is not complete, before any work; return what each one found, by name."""
    return {
        stage.name: stage.check(study, storage) for stage in stages if not is_complete(storage, stage.output(study))
    }


def run_stages(stages: Sequence[Stage[Any]], study: Study, storage: Storage, show: Show) -> dict[str, Summary]:
    """Run these stages in order in one Ray session, which starts when the first of them has work.

    Returns:
        The summary of each stage, by name.

    Raises:
        WrongInputError: a check refuses, or an output exists that other settings or inputs made.
    """
    found = check_stages(stages, study, storage)
    summaries: dict[str, Summary] = {}
    with ExitStack() as session:
        started = False
        for stage in stages:
            start_s = time.monotonic()
            basis = stage.basis(study, storage)
            digest = digest_of(basis)
            if is_complete(storage, stage.output(study)):
                require_same_digest(storage, stage.output(study), digest)
            else:
                start_record(storage, stage.run_name(study), stage.output(study), digest, basis)
                if not started:
                    session.enter_context(ray_session(max(stage.num_workers(study) for stage in stages)))
                    started = True
                stage.run(study, storage, digest, found[stage.name])
            summaries[stage.name] = stage.summary(study, storage)
            show(stage.name, [*summaries[stage.name].rows(), ("time", f"{time.monotonic() - start_s:.0f} s")])
    return summaries
