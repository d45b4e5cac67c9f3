"""The verb of a stage, the same for all of them, and what `study run` and `demo` do."""

import time
from collections.abc import Sequence
from typing import Any

from synfundus.stages import stages_of
from synfundus.stages.stage import Rows, Stage, describe_stages, run_stages
from synfundus.storage import Storage, open_storage
from synfundus.study import Study, load_study
from synfundus_jobs.options import DryRun, Overrides, StudyFile
from synfundus_jobs.screen import show_rows
from synfundus_jobs.verb import Verb


def verb_of(stage: Stage[Any]) -> Verb:
    """Return the verb of `stage`."""

    def run_stage(study: StudyFile, overrides: Overrides, dry_run: DryRun = False) -> None:
        loaded = load_study(study, overrides)
        storage = open_storage(loaded.root, create=not dry_run)
        if dry_run:
            describe([stage], loaded, storage)
        else:
            run_stages([stage], loaded, storage, show_rows)

    return run_stage


def describe(stages: Sequence[Stage[Any]], study: Study, storage: Storage) -> None:
    """Show what these stages would do."""

    def show(name: str, rows: Rows) -> None:
        show_rows(f"{name} would", rows)

    describe_stages(stages, study, storage, show)


def run_study(study: Study, storage: Storage) -> None:
    """Run all stages; close with one screen: the results of `evaluate`, the release, the total time."""
    start_s = time.monotonic()
    summaries = run_stages(stages_of(study), study, storage, show_rows)
    results = summaries["evaluate"].rows()
    total = f"{(time.monotonic() - start_s) / 60:.1f} minutes"
    show_rows(f"study {study.name}", [*results, ("release", storage.uri(study.release_folder)), ("total", total)])
