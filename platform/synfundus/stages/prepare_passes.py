"""The passes of `prepare`: the work is in `fundus`, this file hands it to a pool of Ray workers.

    list        merge the listings of the sources          -> records, sorted by name and cut into chunks
    pass 1      read, prepare and code each original       -> staged tables below `runs/`    (on the pool)
    copies      propose pairs by codes, then compare them  -> likenesses                     (on the pool)
    verdicts    accept or reject, patients, splits         -> one row per accepted image
    pass 2      shard of each chunk                        -> shards below `data/<name>/`    (on the pool)
    close       `rejected.json`, `contact_sheet.png`       -> `manifest.json`, last

This process holds names, labels and 40 bytes of code per image, never all pixels. A worker holds one original and the
prepared images of one chunk. The output depends neither on the number of workers nor on their order. After an
interruption, staged chunks are used again and equal shards are written again.
"""

from collections.abc import Sequence

import ray

from synfundus.digests import digest_of
from synfundus.distributed.map import run_on_pool
from synfundus.environment import Environment
from synfundus.errors import AlreadyExistsError, WrongInputError
from synfundus.fundus.chunks import Chunks
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.contact_sheet import contact_sheet
from synfundus.fundus.index import write_index
from synfundus.fundus.listing import listing_digest, merge_listings
from synfundus.fundus.manifest import CONTACT_SHEET, REJECTED, DataManifest
from synfundus.fundus.patients import patient_key
from synfundus.fundus.preparation import data_manifest, final_rows
from synfundus.fundus.rejection_report import rejection_report
from synfundus.fundus.sources import SourceListing
from synfundus.fundus.staging import FinalRow
from synfundus.fundus.tasks import (
    ChunkOfOriginals,
    Pair,
    StagedChunk,
    accepted_codes,
    chunks_to_finish,
    compare_pairs,
    pairs_to_compare,
    propose_pairs,
    stage_chunk,
    write_shard,
)
from synfundus.fundus.verdicts import Verdicts
from synfundus.progress import Progress
from synfundus.storage import Storage, Written, write_manifest


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
    listing = merge_listings(listings)
    key = patient_key(environment, storage.root)
    staging = f"runs/staging/{folder}"
    chunks = _chunks(storage, staging, listing, config)
    verdicts = _first_pass(chunks, config, progress)
    _reject_copies(chunks, config, verdicts, progress)
    try:
        verdicts.require_any()
    except WrongInputError:
        _clear(storage, staging)  # else the next run would use these outcomes, though the files were corrected
        raise
    rows = final_rows(verdicts, config, key)
    objects = _write_objects(folder, chunks, config, listing, verdicts, rows, progress)
    manifest = data_manifest(listing, verdicts, rows, config, digest, key)
    manifest = write_manifest(storage, folder, objects, manifest)
    _clear(storage, staging)
    return manifest


def _chunks(storage: Storage, staging: str, listing: SourceListing, config: PrepareConfig) -> Chunks:
    """Cut the listing into chunks. Other images or settings have another folder of staged tables."""
    settings = config.model_dump(mode="json", exclude={"resources"})
    version = digest_of([listing_digest(listing.records), settings])[:16]
    return Chunks(storage, listing.records, config.shard_rows, f"{staging}/{version}")


def _clear(storage: Storage, folder: str) -> None:
    for name in list(storage.names(folder)):
        storage.remove(name)


def _first_pass(chunks: Chunks, config: PrepareConfig, progress: Progress) -> Verdicts:
    """Stage every chunk that has no staged table yet, and return what is accepted so far."""
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


def _write_objects(
    folder: str,
    chunks: Chunks,
    config: PrepareConfig,
    listing: SourceListing,
    verdicts: Verdicts,
    rows: Sequence[FinalRow | None],
    progress: Progress,
) -> list[Written]:
    """Write the shards, the index, `rejected.json` and the contact sheet.

    Raises:
        WrongInputError: the folder holds other objects of these names.
    """
    storage = chunks.storage
    progress.update(len(chunks.records), "writing shards")
    items = chunks_to_finish(chunks, folder, rows)
    try:
        shards = list(run_on_pool(write_shard, (storage,), items, config.resources))
        objects = [shard.written for shard in shards]
        objects.append(write_index(storage, folder, {shard.written.name: shard.records for shard in shards}))
        objects.append(storage.write_once(f"{folder}/{REJECTED}", rejection_report(verdicts, listing).to_json()))
        sheet = contact_sheet(folder, chunks, verdicts, rows)
        objects.append(storage.write_once(f"{folder}/{CONTACT_SHEET}", sheet))
    except AlreadyExistsError as error:
        raise WrongInputError(
            f"{folder} holds part of an earlier preparation of other images or settings ({error});"
            f" delete it below {storage.root} or give the study another name"
        ) from error
    return objects
