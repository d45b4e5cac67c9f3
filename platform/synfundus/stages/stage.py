"""Definition of a stage, and the one runner of all stages.

A stage is the unit that a user runs, resumes and pays for. The runner does the same for each stage: if the output is
complete, it compares the digest; if not, it writes the record of the run and runs the stage. Then it shows the summary.
A stage writes its manifest last, so the output of an interrupted stage is never complete.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from synfundus.digests import digest_of
from synfundus.distributed.session import ray_session
from synfundus.errors import WrongInputError
from synfundus.stages.record import Basis, KeyNames, require_same_digest, start_record
from synfundus.storage import Storage, is_complete, refusing_other_content
from synfundus.study import Study

Rows = list[tuple[str, str]]
"""Name and value, one line each on the user's screen."""
Show = Callable[[str, Rows], None]
"""Function that shows rows about the stage with this name."""
Found = TypeVar("Found")
"""Result of a stage's check, which `describe` and `run` use, so that nothing is looked up twice."""


class Summary(Protocol):
    """Results of a finished stage."""

    def rows(self) -> Rows:
        """Return the results as lines for the user's screen."""
        ...


class Stage(ABC, Generic[Found]):
    """One stage of a study. All folders are relative to the root."""

    name: ClassVar[str]
    """Verb on the command line, such as `train-annotator`."""
    help: ClassVar[str]
    """One line of help."""
    names_of_basis: ClassVar[KeyNames] = {}
    """Place in the study of each top-level key of `basis` that has another name there, for messages."""

    @abstractmethod
    def inputs(self, study: Study) -> tuple[str, ...]:
        """Return the folders that the stage reads."""

    @abstractmethod
    def output(self, study: Study) -> str:
        """Return the folder that the stage writes."""

    @abstractmethod
    def basis(self, study: Study, storage: Storage) -> Basis:
        """Return everything that the output depends on. Reads settings and manifests, no pixels and no weights.

        Raises:
            WrongInputError: an input is not complete.
        """

    @abstractmethod
    def check(self, study: Study, storage: Storage) -> Found:
        """Refuse settings, files and resources that the stage would fail on. Its inputs may not be complete yet.

        Raises:
            WrongInputError: the stage would fail.
        """

    @abstractmethod
    def describe(self, study: Study, storage: Storage, found: Found | None) -> Rows:
        """Return what the stage would do, with counts and bytes. Writes nothing and decodes no image.

        Args:
            found: result of `check`; None if the output is complete, which is not checked.

        Raises:
            WrongInputError: an input that the description needs is not complete.
        """

    @abstractmethod
    def run(self, study: Study, storage: Storage, digest: str, found: Found) -> None:
        """Write the output. `digest`, which is that of `basis`, goes into the manifest."""

    @abstractmethod
    def summary(self, study: Study, storage: Storage) -> Summary:
        """Return the summary of the complete output, from its manifest and metadata."""

    def is_part_of(self, study: Study) -> bool:  # noqa: ARG002  most stages are part of every study
        """Return whether the whole study has this stage; a run of the whole study skips it otherwise."""
        return True

    def is_made_elsewhere(self, study: Study) -> bool:  # noqa: ARG002  most stages make their output
        """Return whether the output was copied to the root: it is never run, and its digest is not the study's."""
        return False

    def compare_sources(self, study: Study, storage: Storage) -> Rows:  # noqa: ARG002  most stages read the root only
        """Compare a complete output with its sources outside the root; return lines for the summary.

        Raises:
            WrongInputError: the sources are not those that the output was made from.
        """
        return []

    def num_workers(self, study: Study) -> int:  # noqa: ARG002  most stages need one
        """Return how many Ray workers the stage needs at once; 0 if it runs in this process, without Ray."""
        return 1

    def run_name(self, study: Study) -> str:
        """Return the folder of the run's state below `runs/`. A retried job finds its own state by this name."""
        return f"{study.name}-{self.name.removeprefix('train-')}"


def check_stages(stages: Sequence[Stage[Any]], study: Study, storage: Storage) -> dict[str, Any]:
    """Check every stage whose output is not complete, before any work; return what each one found, by name.

    Raises:
        WrongInputError: one of them would fail.
    """
    return {
        stage.name: stage.check(study, storage) for stage in stages if not is_complete(storage, stage.output(study))
    }


def run_stages(stages: Sequence[Stage[Any]], study: Study, storage: Storage, show: Show) -> dict[str, Summary]:
    """Run these stages in order. One Ray session serves all of them; it starts when the first one needs it.

    Returns:
        The summary of each stage, by name.

    Raises:
        WrongInputError: a check refuses, other settings or inputs made an output, or an interrupted run left files that
            this machine makes differently.
    """
    found = check_stages(stages, study, storage)
    summaries: dict[str, Summary] = {}
    with ExitStack() as session:

        @cache
        def start_ray() -> None:
            session.enter_context(ray_session(max(stage.num_workers(study) for stage in stages)))

        for stage in stages:
            start_s = time.monotonic()
            notes: Rows = []
            if is_complete(storage, stage.output(study)):
                _require_same_output(stage, study, storage)
                notes = stage.compare_sources(study, storage)
            else:
                _run_stage(stage, study, storage, found[stage.name], start_ray)
            summaries[stage.name] = stage.summary(study, storage)
            duration = f"{time.monotonic() - start_s:.0f} s"
            show(stage.name, [*summaries[stage.name].rows(), *notes, ("time", duration)])
    return summaries


def describe_stages(stages: Sequence[Stage[Any]], study: Study, storage: Storage, show: Show) -> None:
    """Show what these stages would do. Writes nothing, and starts no Ray.

    Raises:
        WrongInputError: a check refuses, or an input is missing that no earlier stage of these writes.
    """
    found = check_stages(stages, study, storage)
    for number, stage in enumerate(stages):
        missing = [folder for folder in stage.inputs(study) if not is_complete(storage, folder)]
        written = {earlier.output(study) for earlier in stages[:number]}
        for folder in missing:
            if folder not in written:
                raise WrongInputError(
                    f"{folder} is not complete below {storage.root}; run the stage that makes it first"
                )
        try:
            rows = stage.describe(study, storage, found.get(stage.name))
        except WrongInputError:
            if not missing:
                raise
            rows = [("later", f"needs {', '.join(missing)}, written by earlier stages")]
        show(stage.name, [*rows, *_state(stage, study, storage)])


def _run_stage(stage: Stage[Any], study: Study, storage: Storage, found: Any, start_ray: Callable[[], None]) -> None:
    basis = stage.basis(study, storage)
    start_record(storage, stage.run_name(study), stage.output(study), basis, stage.names_of_basis)
    if stage.num_workers(study):
        start_ray()
    with refusing_other_content(stage.output(study)):
        stage.run(study, storage, digest_of(basis), found)


def _require_same_output(stage: Stage[Any], study: Study, storage: Storage) -> None:
    """Raise WrongInputError if other settings or inputs made the complete output."""
    if not stage.is_made_elsewhere(study):
        basis = stage.basis(study, storage)
        require_same_digest(storage, stage.run_name(study), stage.output(study), basis, stage.names_of_basis)


def _state(stage: Stage[Any], study: Study, storage: Storage) -> Rows:
    """Return whether a run would leave a complete output as it is, or refuse it; nothing if it is not complete."""
    if not is_complete(storage, stage.output(study)):
        return []
    try:
        _require_same_output(stage, study, storage)
    except WrongInputError as error:
        return [("refused", str(error))]
    return [("complete", f"{stage.output(study)} below {storage.root}; nothing to do")]
