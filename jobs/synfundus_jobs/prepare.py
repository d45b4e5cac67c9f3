"""Job `prepare`: read, crop, check and split real images; what is rejected is counted and shown."""

import sys
from typing import Any

from synfundus.digests import digest_of
from synfundus.environment import Environment
from synfundus.errors import WrongInputError
from synfundus.fundus.patients import patient_key
from synfundus.fundus.preparation import merge_listings
from synfundus.fundus.sources import list_source
from synfundus.fundus.sources.place import source_exists
from synfundus.fundus.splits import SPLITS
from synfundus.progress import show_progress
from synfundus.stages.prepare import prepare
from synfundus.stages.record import start_run
from synfundus.storage import Storage, read_manifest
from synfundus.study import Study
from synfundus_jobs.job import Job, Rows

PNG_BYTES_PER_PIXEL = 1.5
"""Of a prepared fundus photograph; an estimate for `--dry-run` only."""


def check(study: Study) -> None:
    if study.data.prepared is not None:
        raise WrongInputError(
            f"data.prepared: {study.data_folder} is not complete below {study.root}; copy it there, manifest.json last"
        )
    settings = Environment()
    if settings.patient_key is not None:  # else one is made where the work is done; a check writes nothing
        patient_key(settings, study.root)
    merge_listings([list_source(source) for source in study.data.sources])


def describe(study: Study, storage: Storage) -> Rows:
    if study.data.prepared is not None:
        return [("prepared elsewhere", f"{study.data_folder} below {storage.root}; nothing to do")]
    rows: Rows = []
    total = 0
    for source in study.data.sources:
        listing = list_source(source)
        total += len(listing.records)
        patients = "by patient" if listing.has_patients else "no patient column: an image counts as a patient"
        rows.append((source.layout, f"{len(listing.records)} images, split {patients}"))
    num_bytes = total * study.data.prepare.size_px**2 * PNG_BYTES_PER_PIXEL
    rows.append(("write", f"{study.data_folder} below {storage.root}, about {num_bytes / 2**20:.0f} MiB"))
    return rows


def run(study: Study, storage: Storage) -> Rows:
    if study.data.prepared is not None:
        return summary(read_manifest(storage, study.data_folder), study, storage)
    settings = study.public["data"]
    digest = digest_of(settings)
    if not start_run(storage, f"{study.name}-prepare", study.data_folder, digest, {"data": settings}):
        away = [why for s in study.data.sources if s.layout != "phantom" and (why := _why_away(s.path))]
        if away:  # photographs may be taken off the machine once they are prepared, and rights to them withdrawn
            rows = summary(read_manifest(storage, study.data_folder), study, storage)
            return [*rows, ("originals", f"{'; '.join(away)}; the prepared images are used as they are")]
    listings = [list_source(source) for source in study.data.sources]
    total = sum(len(listing.records) for listing in listings)
    with show_progress("prepare", total, "images") as progress:
        manifest = prepare(storage, study.data_folder, listings, study.data.prepare, Environment(), digest, progress)
    return summary(manifest, study, storage)


def _why_away(path: str) -> str | None:
    """Why nothing at the `path` of a source can be listed; None where it can."""
    try:
        return None if source_exists(path) else f"no longer at {path}"
    except WrongInputError as error:
        return str(error)


def summary(manifest: dict[str, Any], study: Study, storage: Storage) -> Rows:
    """Counts of what was kept and what was not."""
    images, patients = manifest["num_images"], manifest["num_patients"]
    parts = [f"{split} {images[split]} images of {patients[split]} patients" for split in SPLITS]
    rejected = ", ".join(f"{n} {reason}" for reason, n in manifest["rejected"].items() if n) or "none"
    rows = [("kept", "; ".join(parts)), ("rejected", rejected)]
    if manifest["images_counted_as_patient"]:
        rows.append(("no patient id", f"{manifest['images_counted_as_patient']} images count as a patient each"))
    if manifest["rows_without_image"] or manifest["images_without_row"]:
        lists = (
            f"{manifest['rows_without_image']} rows without image, {manifest['images_without_row']} images without row"
        )
        rows.append(("tables", f"{lists}; named in rejected.json"))
    rows.append(("contact sheet", f"{storage.uri(study.data_folder)}/contact_sheet.png (private)"))
    return rows


JOB = Job("prepare", __doc__.split(": ", 1)[1], describe, run, lambda study: study.data_folder, check)
main = JOB.main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
