"""Job `publish`: make a release of the accepted samples: data, card, Croissant file, public report."""

import json
import sys

from synfundus.digests import digest_of
from synfundus.evaluation.run import METRICS, PUBLIC
from synfundus.samples.publish import Evidence, publish
from synfundus.samples.shards import count_accepted
from synfundus.stages.record import start_run
from synfundus.storage import Storage, read_manifest, read_trusted
from synfundus.study import Study
from synfundus_jobs.job import Job, Rows


def _evidence(study: Study, storage: Storage) -> Evidence:
    def read(folder: str, file: str) -> bytes:
        return read_trusted(storage, folder, file, read_manifest(storage, folder))

    return Evidence(
        json.loads(read(study.report_folder, METRICS)),
        json.loads(read(study.annotator_folder, METRICS)),
        read(study.report_folder, PUBLIC).decode(),
    )


def describe(study: Study, storage: Storage) -> Rows:
    manifest = read_manifest(storage, study.samples_folder)
    num_bytes = sum(entry["size_bytes"] for name, entry in manifest["files"].items() if name.endswith(".parquet"))
    copies = 2 if study.release.synfundus_export else 1
    return [
        ("release", f"{study.release.title}, version {study.release.version}, {study.release.licence}"),
        ("samples", str(count_accepted(storage, study.samples_folder))),
        ("write", f"{study.release_folder} below {storage.root}, about {copies * num_bytes / 2**20:.1f} MiB"),
    ]


def run(study: Study, storage: Storage) -> Rows:
    record = {"release": study.release.model_dump(mode="json")}
    start_run(storage, f"{study.name}-publish", study.release_folder, digest_of(record), record)
    summary = publish(storage, study.samples_folder, study.release_folder, study.release, _evidence(study, storage))
    return [
        ("samples", f"{summary['num_accepted']} ({summary['num_unresolved']} left out)"),
        ("files", f"{summary['num_files']}, {summary['size_bytes'] / 2**20:.1f} MiB"),
        ("release", storage.uri(study.release_folder)),
    ]


JOB = Job("publish", __doc__.split(": ", 1)[1], describe, run, lambda study: study.release_folder)
main = JOB.main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
