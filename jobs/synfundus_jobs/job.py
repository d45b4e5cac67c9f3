"""What every job shares: arguments, one line an error, exit codes 0 done, 1 failed, 2 wrong input, summary."""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from synfundus.distributed.session import ray_session
from synfundus.environment import Environment
from synfundus.errors import SynfundusError, WrongInputError
from synfundus.storage import FULL_DISK, Storage, is_complete, open_storage
from synfundus.study import Study, load_study
from synfundus.training.config import OptimisationConfig

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
PLAIN_WIDTH = 100_000
Rows = list[tuple[str, str]]
"""What a person reads at the end: name and value."""


@dataclass(frozen=True)
class Job:
    """One verb."""

    verb: str
    """As on the command line."""
    title: str
    """One line of help."""
    describe: Callable[[Study, Storage], Rows]
    """What the job would do, with counts and bytes; writes nothing."""
    run: Callable[[Study, Storage], Rows]
    """Does it; returns the summary."""
    output: Callable[[Study], str]
    """The folder that it writes; complete means there is nothing left to check."""
    check: Callable[[Study], None] = lambda _: None
    """Raises WrongInputError for what can be known to be wrong before any stage runs."""

    def main(self, argv: Sequence[str]) -> int:
        """Parse, build, run, close."""
        options = self.parser().parse_args(argv)
        return guarded(lambda: self._main(options), debug=options.debug)

    def parser(self) -> argparse.ArgumentParser:
        parser = OneLineParser(prog=f"synfundus {self.verb}", description=self.title)
        parser.add_argument("study", type=Path, metavar="STUDY", help="the study's YAML file")
        parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="a setting on top of the file")
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return parser

    def _main(self, options: argparse.Namespace) -> int:
        study = load_study(options.study, options.set)
        storage = open_storage(study.root, create=not options.dry_run)
        self.require_feasible(study, storage)
        if options.dry_run:
            show_rows(f"{self.verb} would", self.describe(study, storage))
            return DONE
        with ray_session(most_workers(study)):
            self.execute(study, storage)
        return DONE

    def require_feasible(self, study: Study, storage: Storage) -> None:
        """Raises WrongInputError, before any work, where this stage could not end well."""
        if not is_complete(storage, self.output(study)):
            self.check(study)

    def execute(self, study: Study, storage: Storage) -> Rows:
        """Run and show the summary."""
        start_s = time.monotonic()
        rows = self.run(study, storage)
        show_rows(self.verb, [*rows, ("time", f"{time.monotonic() - start_s:.0f} s")])
        return rows


def most_workers(study: Study) -> int:
    """Most workers or actors that a stage of the study asks for at once."""
    return max(study.annotator.num_workers, study.generator.num_workers, study.samples.pool_size)


def require_gpu(key: str, *, use_gpu: bool) -> None:
    """Raises WrongInputError where a GPU is asked for that Ray would wait for forever. A cluster may yet grow one."""
    if not use_gpu or Environment().ray_address is not None:
        return
    import torch  # takes seconds to import, and most commands need none of it

    if not torch.cuda.is_available():
        raise WrongInputError(
            f"{key}.use_gpu: this machine has no GPU; say false, or run the job on a cluster that has"
        )


def require_even_batch(key: str, config: OptimisationConfig) -> None:
    """Raises WrongInputError where a batch does not divide among the workers."""
    if config.batch_size % (config.num_workers * config.accumulation_steps):
        raise WrongInputError(
            f"{key}.batch_size: {config.batch_size} does not divide into {config.num_workers} workers"
            f" x {config.accumulation_steps} accumulation steps; change one of them"
        )


class OneLineParser(argparse.ArgumentParser):
    """A mistake on the command line is one line, as every other mistake is."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_INPUT, f"error: {message}; {self.prog} --help says more\n")


def show_rows(title: str, rows: Rows) -> None:
    """A small table on standard output; off a terminal its lines are as long as they are."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(f"  {name}", value)
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    console = Console(highlight=False, markup=False, soft_wrap=True, width=width)
    with console.capture() as drawn:
        console.print(table)
    # The table fills every line to the width of the longest with spaces.
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines()))


def guarded(body: Callable[[], int], *, debug: bool) -> int:
    """Run `body`; errors become one line and an exit code."""
    try:
        return body()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on where this one stopped\n")
        return INTERRUPTED
    except SynfundusError as error:
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return WRONG_INPUT if isinstance(error, WrongInputError) else FAILED
    except OSError as error:
        if debug:
            traceback.print_exc()
        if error.errno in FULL_DISK:
            place = f" ({error.filename})" if error.filename else ""
            sys.stderr.write(f"error: disk full{place}; free some space and run the same command again\n")
        else:
            sys.stderr.write(f"error: {type(error).__name__}: {' '.join(str(error).split())[:500]}\n")
        return FAILED
    except Exception as error:  # the last line of defence: a defect of ours, not of the user's
        if debug:
            traceback.print_exc()
        reason = " ".join(str(error).split())[:500]
        sys.stderr.write(
            f"error: {type(error).__name__}: {reason} (a defect; run again with --debug for the traceback)\n"
        )
        return FAILED
