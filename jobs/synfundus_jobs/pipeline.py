"""The whole loop in one Ray session: every stage in its order, each skipped where its output is complete."""

import time

from synfundus.distributed.session import ray_session
from synfundus.storage import Storage
from synfundus.study import Study
from synfundus_jobs import evaluate, fill, prepare, publish, sample, train_annotator, train_generator
from synfundus_jobs.job import Job, Rows, most_workers, show_rows

STAGES: tuple[Job, ...] = (
    prepare.JOB,
    train_annotator.JOB,
    fill.JOB,
    train_generator.JOB,
    sample.JOB,
    evaluate.JOB,
    publish.JOB,
)


def require_feasible(study: Study, storage: Storage) -> None:
    """Raises WrongInputError, before hours of work, for what a late stage would stumble over."""
    for job in STAGES:
        job.require_feasible(study, storage)


def run_study(study: Study, storage: Storage) -> None:
    """Run all stages and close with one screen."""
    start_s = time.monotonic()
    last: Rows = []
    require_feasible(study, storage)
    with ray_session(most_workers(study)):
        for job in STAGES:
            rows = job.execute(study, storage)
            if job is evaluate.JOB:
                last = rows
    total = f"{(time.monotonic() - start_s) / 60:.1f} minutes"
    show_rows(f"study {study.name}", [*last, ("release", storage.uri(study.release_folder)), ("total", total)])
