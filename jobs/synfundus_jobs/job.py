"""What every job shares: arguments, one line an error, exit codes 0 done, 1 failed, 2 wrong input, summary."""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from synfundus.distributed.session import ray_session
from synfundus.errors import SynfundusError, WrongInputError
from synfundus.storage import Storage, open_storage
from synfundus.study import Study, load_study

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
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

    def main(self, argv: Sequence[str]) -> int:
        """Parse, build, run, close."""
        options = self.parser().parse_args(argv)
        return guarded(lambda: self._main(options), debug=options.debug)

    def parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=f"synfundus {self.verb}", description=self.title)
        parser.add_argument("study", type=Path, metavar="STUDY", help="the study's YAML file")
        parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="a setting on top of the file")
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return parser

    def _main(self, options: argparse.Namespace) -> int:
        study = load_study(options.study, options.set)
        storage = open_storage(study.root)
        if options.dry_run:
            show_rows(f"{self.verb} would", self.describe(study, storage))
            return DONE
        with ray_session():
            self.execute(study, storage)
        return DONE

    def execute(self, study: Study, storage: Storage) -> Rows:
        """Run and show the summary."""
        start_s = time.monotonic()
        rows = self.run(study, storage)
        show_rows(self.verb, [*rows, ("time", f"{time.monotonic() - start_s:.0f} s")])
        return rows


def show_rows(title: str, rows: Rows) -> None:
    """A small table on standard output."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(f"  {name}", value)
    Console(highlight=False, soft_wrap=True).print(table)


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
    except Exception as error:  # the last line of defence: a defect of ours, not of the user's
        if debug:
            traceback.print_exc()
        reason = " ".join(str(error).split())[:500]
        sys.stderr.write(
            f"error: {type(error).__name__}: {reason} (a defect; run again with --debug for the traceback)\n"
        )
        return FAILED
