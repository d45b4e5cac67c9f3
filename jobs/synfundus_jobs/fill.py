"""Job `fill`: unknown labels get calibrated probabilities, in a new dataset beside the prepared one."""

import sys

from synfundus.digests import digest_of
from synfundus.labels import LABEL_NAMES
from synfundus.progress import show_progress
from synfundus.stages.fill import fill
from synfundus.stages.record import start_run
from synfundus.storage import Storage, read_manifest
from synfundus.study import Study
from synfundus_jobs.job import Job, Rows, require_gpu


def check(study: Study) -> None:
    require_gpu("samples", use_gpu=study.samples.use_gpu)


def describe(study: Study, storage: Storage) -> Rows:
    return [
        ("read", f"{study.data_folder}, {study.annotator_folder}"),
        ("write", f"{study.filled_folder} below {storage.root}; experts' labels stay as they are"),
    ]


def run(study: Study, storage: Storage) -> Rows:
    inputs = [read_manifest(storage, folder) for folder in (study.data_folder, study.annotator_folder)]
    digest = digest_of(inputs)
    record = {"inputs": {"data": digest_of(inputs[0]), "annotator": digest_of(inputs[1])}}
    if start_run(storage, f"{study.name}-fill", study.filled_folder, digest, record):
        shards = [file for file in inputs[0]["files"] if file.endswith(".parquet")]
        with show_progress("fill", len(shards), "shards") as progress:
            fill(
                storage,
                study.data_folder,
                study.annotator_folder,
                study.filled_folder,
                digest,
                study.samples.pool_size,
                progress,
                use_gpu=study.samples.use_gpu,
            )
    counts = read_manifest(storage, study.filled_folder)["sources"]
    filled = {name: counts[name]["filled"] for name in LABEL_NAMES if counts[name]["filled"]}
    nothing = "nothing: no head is usable, or every label is known"
    return [("filled", ", ".join(f"{name} {n}" for name, n in filled.items()) or nothing)]


JOB = Job("fill", __doc__.split(": ", 1)[1], describe, run, lambda study: study.filled_folder, check)
main = JOB.main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
