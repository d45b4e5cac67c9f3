"""Stage `prepare`: originals in, prepared images in `data/<name>/` out.

    check       list the sources once                      -> records, sorted by name and cut into chunks
    pass 1      read, prepare and code each original       -> staged tables below `runs/`    (on the pool)
    copies      propose pairs by codes, then compare them  -> likenesses                     (on the pool)
    verdicts    accept or reject, patients, splits         -> one row per accepted image
    pass 2      shard of each chunk                        -> shards below `data/<name>/`    (on the pool)
    close       `rejected.json`, `contact_sheet.png`       -> `manifest.json`, last

This process holds names, labels and 40 bytes of code per image, never all pixels. A worker holds one original and the
prepared images of one chunk. The output depends neither on the number of workers nor on their order. After an
interruption, staged chunks are used again and equal shards are written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synfundus.digests import digest_of
from synfundus.environment import Environment
from synfundus.errors import AlreadyExistsError, WrongInputError
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.listing import listing_digest, merge_listings
from synfundus.fundus.manifest import DataManifest
from synfundus.fundus.patients import patient_key
from synfundus.fundus.sources import SourceListing, list_source
from synfundus.fundus.sources.place import source_exists
from synfundus.fundus.splits import SPLITS
from synfundus.progress import Progress, show_progress
from synfundus.stages.record import Basis
from synfundus.stages.stage import Rows, Stage
from synfundus.storage import Storage, Written, read_manifest, write_manifest
from synfundus.study import Study

if TYPE_CHECKING:
    from synfundus.fundus.chunks import Chunks
    from synfundus.fundus.staging import FinalRow
    from synfundus.fundus.verdicts import Verdicts

PNG_BYTES_PER_PIXEL = 1.5
"""Size of a prepared fundus photograph; an estimate for `--dry-run` only."""
CONTACT_SHEET = "contact_sheet.png"
REJECTED = "rejected.json"

Listings = tuple[SourceListing, ...]
"""One listing per source of the study."""


@dataclass(frozen=True)
class PrepareSummary:
    """Numbers of accepted and rejected images."""

    manifest: DataManifest
    contact_sheet: str | None
    """URI of the contact sheet."""

    def rows(self) -> Rows:
        manifest = self.manifest
        images, patients = manifest.num_images, manifest.num_patients
        splits = [f"{split} {getattr(images, split)} images of {getattr(patients, split)} patients" for split in SPLITS]
        rejected = ", ".join(f"{n} {reason.words}" for reason, n in manifest.rejected.items() if n) or "none"
        rows = [("accepted", "; ".join(splits)), ("rejected", rejected)]
        if manifest.images_counted_as_patient:
            rows.append(("no patient id", f"{manifest.images_counted_as_patient} images count as a patient each"))
        if manifest.rows_without_image or manifest.images_without_row:
            unmatched = (
                f"{manifest.rows_without_image} rows without image, {manifest.images_without_row} images without row"
            )
            rows.append(("tables", f"{unmatched}; listed in {REJECTED}"))
        if self.contact_sheet is not None:
            rows.append(("contact sheet", f"{self.contact_sheet} (private)"))
        return rows


class PrepareStage(Stage[Listings]):
    """Read, crop, check and split photographs."""

    name = "prepare"
    help = "Read, crop, check and split photographs; rejected ones are counted and shown."

    def inputs(self, study: Study) -> tuple[str, ...]:  # noqa: ARG002  the sources lie outside the root
        return ()

    def output(self, study: Study) -> str:
        return study.data_folder

    def basis(self, study: Study, storage: Storage) -> Basis:  # noqa: ARG002  it has no inputs
        return {"data": study.public["data"]}

    def check(self, study: Study, storage: Storage) -> Listings:
        """List every source.

        Raises:
            WrongInputError: a source cannot be listed or holds no image, the patient key is not usable, or a dataset
                that was prepared elsewhere is not complete.
        """
        if study.data.prepared is not None:
            raise WrongInputError(
                f"data.prepared: {study.data_folder} is not complete below {storage.root};"
                " copy it there, manifest.json last"
            )
        environment = Environment()
        if environment.patient_key is not None:  # else `run` makes one; a check writes nothing
            patient_key(environment, study.root)
        listings = tuple(list_source(source) for source in study.data.sources)
        merge_listings(listings)
        return listings

    def describe(self, study: Study, storage: Storage, found: Listings | None) -> Rows:
        if not found:
            return []
        rows: Rows = []
        for source, listing in zip(study.data.sources, found, strict=True):
            patients = "split by patient" if listing.has_patients else "no patient column: each counts as a patient"
            rows.append((source.layout, f"{len(listing.records)} images, {patients}"))
        num_images = sum(len(listing.records) for listing in found)
        num_bytes = num_images * study.data.prepare.size_px**2 * PNG_BYTES_PER_PIXEL
        rows.append(("write", f"{study.data_folder} below {storage.root}, about {num_bytes / 2**20:.0f} MiB"))
        return rows

    def run(self, study: Study, storage: Storage, digest: str, found: Listings) -> None:
        num_images = sum(len(listing.records) for listing in found)
        with show_progress(self.name, num_images, "images") as progress:
            prepare(storage, study.data_folder, found, study.data.prepare, Environment(), digest, progress)

    def is_made_elsewhere(self, study: Study) -> bool:
        return study.data.prepared is not None

    def compare_sources(self, study: Study, storage: Storage) -> Rows:
        """Compare a complete dataset with its originals, if they can still be listed.

        Photographs may be taken off the machine once they are prepared, and rights to them withdrawn.

        Raises:
            WrongInputError: the dataset was prepared from other images or labels.
        """
        if study.data.prepared is not None:
            return []
        if unreachable := _unreachable(study):
            return [("originals", f"{unreachable}; the prepared images are used as they are")]
        listing = merge_listings([list_source(source) for source in study.data.sources])
        if read_manifest(storage, study.data_folder, DataManifest).images_digest != listing_digest(listing.records):
            raise WrongInputError(
                f"{study.data_folder} below {storage.root} was prepared from other images or labels;"
                " give the study another name or root"
            )
        return []

    def summary(self, study: Study, storage: Storage) -> PrepareSummary:
        manifest = read_manifest(storage, study.data_folder, DataManifest)
        has_sheet = CONTACT_SHEET in manifest.files
        sheet = storage.uri(f"{study.data_folder}/{CONTACT_SHEET}") if has_sheet else None
        return PrepareSummary(manifest, sheet)


def _unreachable(study: Study) -> str:
    """Return why sources of the study cannot be listed any more; empty if all can."""
    reasons = []
    for source in study.data.sources:
        if source.layout == "phantom":
            continue
        try:
            if not source_exists(source.path):
                reasons.append(f"no longer at {source.path}")
        except WrongInputError as error:
            reasons.append(str(error))
    return "; ".join(reasons)


def prepare(
    storage: Storage,
    folder: str,
    listings: Sequence[SourceListing],
    config: PrepareConfig,
    environment: Environment,
    digest: str,
    progress: Progress,
) -> DataManifest:
    """Prepare all images of the sources into `folder`, and return its manifest.

    Args:
        listings: one per source; their order decides the names of the images.
        digest: digest of every setting that the images depend on.
        progress: receives the number of originals read.

    Raises:
        WrongInputError: every image is rejected, or `folder` holds shards of other settings or images.
    """
    from synfundus.fundus.chunks import Chunks
    from synfundus.fundus.preparation import data_manifest, final_rows

    listing = merge_listings(listings)
    key = patient_key(environment, storage.root)
    staging = f"runs/staging/{folder}"
    settings = config.model_dump(mode="json", exclude={"resources"})
    version = digest_of([listing_digest(listing.records), settings])[:16]
    chunks = Chunks(storage, listing.records, config.shard_rows, f"{staging}/{version}")
    verdicts = _first_pass(chunks, config, progress)
    _reject_copies(chunks, config, verdicts, progress)
    try:
        verdicts.require_any()
    except WrongInputError:
        _clear(storage, staging)  # else the next run would use these outcomes, though the files were corrected
        raise
    rows = final_rows(verdicts, config, key)
    try:
        objects = _second_pass(folder, chunks, config, rows, progress)
        objects += _write_reports(folder, chunks, listing, verdicts, rows)
    except AlreadyExistsError as error:
        raise WrongInputError(
            f"{folder} holds part of an earlier preparation of other images or settings ({error});"
            f" delete it below {storage.root} or give the study another name"
        ) from error
    manifest = data_manifest(listing, verdicts, rows, config, digest, key)
    manifest = write_manifest(storage, folder, objects, manifest)
    _clear(storage, staging)
    return manifest


def _clear(storage: Storage, folder: str) -> None:
    for name in list(storage.names(folder)):
        storage.remove(name)


def _first_pass(chunks: Chunks, config: PrepareConfig, progress: Progress) -> Verdicts:
    """Stage every chunk that has no staged table yet, and return what is accepted so far."""
    from synfundus.distributed.map import run_on_pool
    from synfundus.fundus.tasks import ChunkOfOriginals, stage_chunk
    from synfundus.fundus.verdicts import Verdicts

    missing = chunks.missing()
    done = len(chunks.records) - sum(len(chunks.span(chunk)) for chunk in missing)
    progress.update(done)
    items = [
        ChunkOfOriginals(chunks.staged_name(chunk), [chunks.records[i] for i in chunks.span(chunk)])
        for chunk in missing
    ]
    for num_originals in run_on_pool(stage_chunk, (chunks.storage, config), items, config.resources):
        done += num_originals
        progress.update(done)
    return Verdicts(chunks.records, chunks.outcomes())


def _reject_copies(chunks: Chunks, config: PrepareConfig, verdicts: Verdicts, progress: Progress) -> None:
    """Propose pairs by their codes, compare them, and reject all but one of each photograph."""
    import ray

    from synfundus.distributed.map import run_on_pool
    from synfundus.fundus.tasks import (
        Pair,
        StagedChunk,
        accepted_codes,
        compare_pairs,
        pairs_to_compare,
        propose_pairs,
    )

    progress.update(len(chunks.records), "looking for copies")
    known = ray.put(accepted_codes(chunks, verdicts.accepted))
    staged = [StagedChunk(chunks.staged_name(chunk), chunks.span(chunk).start) for chunk in range(len(chunks))]
    pairs: set[Pair] = set()
    for proposed in run_on_pool(propose_pairs, (chunks.storage, known), staged, config.resources):
        pairs.update(proposed)
    same_photograph: list[Pair] = []
    items = pairs_to_compare(sorted(pairs), chunks.records)
    for likenesses in run_on_pool(compare_pairs, (config,), items, config.resources):
        same_photograph += [pair for pair, likeness in likenesses if likeness.same_photograph]
        verdicts.same_eye += [pair for pair, likeness in likenesses if likeness.only_same_eye]
    verdicts.reject_near_duplicates(same_photograph)


def _second_pass(
    folder: str, chunks: Chunks, config: PrepareConfig, rows: Sequence[FinalRow | None], progress: Progress
) -> list[Written]:
    """Write the shards."""
    from synfundus.distributed.map import run_on_pool
    from synfundus.fundus.tasks import chunks_to_finish, write_shard

    progress.update(len(chunks.records), "writing shards")
    return list(run_on_pool(write_shard, (chunks.storage,), chunks_to_finish(chunks, folder, rows), config.resources))


def _write_reports(
    folder: str, chunks: Chunks, listing: SourceListing, verdicts: Verdicts, rows: Sequence[FinalRow | None]
) -> list[Written]:
    """Write `rejected.json` and the contact sheet."""
    from synfundus.fundus.contact_sheet import contact_sheet
    from synfundus.fundus.rejection_report import rejection_report

    report = rejection_report(verdicts, listing).to_json()
    sheet = contact_sheet(folder, chunks, verdicts, rows)
    return [
        chunks.storage.write_once(f"{folder}/{REJECTED}", report),
        chunks.storage.write_once(f"{folder}/{CONTACT_SHEET}", sheet),
    ]
