"""`prepare` over Ray Data: originals in, `data/<name>/` out.

    chunks of record references -> pass 1: read, prepare, code      -> staged tables below runs/   (tasks, streamed)
                                -> proposals of the codes           -> pairs                       (tasks, streamed)
                                -> registered comparison of pairs   -> likenesses                  (tasks, streamed)
    driver: who stays, splits   -> pass 2: final rows of each chunk -> shards below data/<name>/   (tasks, streamed)
                                -> rejected.json, contact_sheet.png, and manifest.json last

The driver holds names, labels and 32 bytes of code an image, never pixels. A task holds one original and one chunk of
prepared images. A chunk is a run of records sorted by name, so what is written depends on neither the number of
workers nor their order. After an interruption, staged chunks are taken over and equal shards are written again.
"""

import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synfundus.digests import canonical_json, sha256_hex
from synfundus.environment import Environment
from synfundus.errors import AlreadyExistsError, SynfundusError, WrongInputError
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.contact_sheet import Tile, contact_sheet, pick_by_reason, pick_evenly, short_labels
from synfundus.fundus.duplicates import CODE_BITS, Likeness, candidates
from synfundus.fundus.patients import key_fingerprint, patient_key
from synfundus.fundus.preparation import Verdicts, facts, final_rows, listing_digest, merge_listings
from synfundus.fundus.sources import SourceListing, SourceRecord
from synfundus.fundus.staging import (
    FinalRow,
    compare_records,
    finish_chunk,
    read_codes,
    read_facts,
    read_pictures,
    stage_records,
)
from synfundus.progress import Progress
from synfundus.storage import Storage, Written, is_complete, read_manifest, write_manifest

MAX_BLOCKS = 1000
"""Ray Data blocks, each a task; more chunks than this share them."""
PAIRS_PER_TASK = 32
SHEET_ACCEPTED, SHEET_REJECTED = 40, 32

Item = dict[str, Any]


@dataclass(frozen=True)
class _Chunks:
    """The listing cut into chunks, and where their staged tables lie."""

    records: Sequence[SourceRecord]
    rows: int
    folder: str

    def __len__(self) -> int:
        return math.ceil(len(self.records) / self.rows)

    def span(self, chunk: int) -> range:
        return range(chunk * self.rows, min((chunk + 1) * self.rows, len(self.records)))

    def name(self, chunk: int) -> str:
        return f"{self.folder}/chunk-{chunk:05d}.parquet"

    def item(self, chunk: int, payload: object = None) -> Item:
        span = self.span(chunk)
        return {"start": span.start, "staged": self.name(chunk), "payload": payload}


def prepare(
    storage: Storage,
    folder: str,
    listings: Sequence[SourceListing],
    config: PrepareConfig,
    settings: Environment,
    digest: str,
    progress: Progress,
) -> dict[str, Any]:
    """Prepare all images of the sources into `folder`.

    Args:
        digest: of every setting that the images depend on, kept in the manifest.
        progress: told the number of originals read.

    Returns:
        The manifest, whose facts are the summary. A complete folder is left as it is.

    Raises:
        WrongInputError: no image, none left, or `folder` was made from other settings or images.
    """
    listing = merge_listings(listings)
    images_digest = listing_digest(listing.records)
    if is_complete(storage, folder):
        return _known(storage, folder, digest, images_digest)
    key = patient_key(settings, storage.root)
    staging = f"runs/staging/{folder}"
    version = sha256_hex(canonical_json([images_digest, config.model_dump(mode="json")]))[:16]
    chunks = _Chunks(listing.records, config.shard_rows, f"{staging}/{version}")
    verdicts = _first_pass(storage, chunks, config, progress)
    _find_copies(storage, chunks, config, verdicts, progress)
    try:
        verdicts.require_any()
    except WrongInputError:
        # Whoever mends the files and runs the same command must not meet the old verdicts again.
        _clear(storage, staging)
        raise
    rows = final_rows(verdicts, config, key)
    try:
        objects = _second_pass(storage, folder, chunks, rows, progress)
        report = canonical_json(verdicts.report(listing))
        objects.append(storage.write_once(f"{folder}/rejected.json", report))
        sheet = _contact_sheet(storage, folder, chunks, verdicts, rows)
        objects.append(storage.write_once(f"{folder}/contact_sheet.png", sheet))
    except AlreadyExistsError as error:
        raise WrongInputError(
            f"{folder} holds part of an earlier preparation of other images or settings ({error});"
            f" delete it below {storage.root} or give the study another name"
        ) from error
    known = {"kind": "data", "size_px": config.size_px, "digest": digest, "images_digest": images_digest}
    known |= {"split_seed": config.split_seed, "split_fractions": config.split_fractions.model_dump()}
    known |= {"patient_key": key_fingerprint(key)}
    manifest = write_manifest(storage, folder, objects, {**known, **facts(listing, verdicts, rows)})
    _clear(storage, staging)
    return manifest


def _clear(storage: Storage, folder: str) -> None:
    for name in list(storage.names(folder)):
        storage.remove(name)


def _known(storage: Storage, folder: str, digest: str, images_digest: str) -> dict[str, Any]:
    """Manifest of a complete folder, if it was made of the same."""
    manifest = read_manifest(storage, folder)
    for name, now, what in (("digest", digest, "settings"), ("images_digest", images_digest, "images or labels")):
        if manifest.get(name) != now:
            raise WrongInputError(
                f"{folder} below {storage.root} was prepared from other {what}; give the study another name or root"
            )
    return manifest


def _run(items: Sequence[Item], task: Callable[..., Item], *arguments: object) -> Iterator[Item]:
    """`task(item, *arguments)` of every item, in the order they finish; our own errors come out as they were raised."""
    import ray

    if not items:
        return
    rows = [{"data": pickle.dumps(item)} for item in items]
    source = ray.data.from_items(rows, override_num_blocks=min(len(rows), MAX_BLOCKS))
    for row in source.map(_guarded, fn_args=(task, arguments)).iter_rows():
        result = pickle.loads(row["data"])  # noqa: S301  made by this program, in memory
        if isinstance(result, SynfundusError):
            raise result
        yield result


def _guarded(row: dict[str, bytes], task: Callable[..., Item], arguments: tuple[object, ...]) -> dict[str, bytes]:
    """One task on a worker. Its errors of ours are results: Ray would hand on their text only."""
    item = pickle.loads(row["data"])  # noqa: S301  made by this program, in memory
    try:
        return {"data": pickle.dumps(task(item, *arguments))}
    except SynfundusError as error:
        return {"data": pickle.dumps(error)}


def _first_pass(storage: Storage, chunks: _Chunks, config: PrepareConfig, progress: Progress) -> Verdicts:
    there = set(storage.names(chunks.folder))
    missing = [chunk for chunk in range(len(chunks)) if chunks.name(chunk) not in there]
    done = len(chunks.records) - sum(len(chunks.span(chunk)) for chunk in missing)
    progress.update(done)
    items = [chunks.item(chunk, [chunks.records[i] for i in chunks.span(chunk)]) for chunk in missing]
    for row in _run(items, _stage, storage, config):
        done += int(row["num_images"])
        progress.update(done)
    staged = []
    for chunk in range(len(chunks)):
        with storage.open_input(chunks.name(chunk)) as file:
            staged += read_facts(file)
    return Verdicts(chunks.records, staged)


def _stage(item: Item, storage: Storage, config: PrepareConfig) -> Item:
    records: list[SourceRecord] = item["payload"]
    storage.replace(item["staged"], stage_records(records, config))
    return {"num_images": len(records)}


def _find_copies(
    storage: Storage, chunks: _Chunks, config: PrepareConfig, verdicts: Verdicts, progress: Progress
) -> None:
    """Propose pairs by their codes, compare them, and drop all but one of each photograph."""
    import ray

    progress.update(len(chunks.records), "looking for copies")
    kept = set(verdicts.kept)
    indices: list[int] = []
    plain = [np.zeros((0, CODE_BITS // 64), np.uint64)]
    for chunk in range(len(chunks)):
        with storage.open_input(chunks.name(chunk)) as file:
            places, codes_NVW = read_codes(file)
        mine = [n for n, place in enumerate(places) if chunks.span(chunk).start + place in kept]
        indices += [chunks.span(chunk).start + places[n] for n in mine]
        plain.append(codes_NVW[mine, 0])
    shared = ray.put((np.array(indices, np.int64), np.ascontiguousarray(np.concatenate(plain))))
    pairs: set[tuple[int, int]] = set()
    for row in _run([chunks.item(chunk) for chunk in range(len(chunks))], _propose, storage, shared):
        pairs.update((int(i), int(j)) for i, j in row["pairs"])
    ordered = sorted(pairs)
    items = []
    for start in range(0, len(ordered), PAIRS_PER_TASK):
        part = ordered[start : start + PAIRS_PER_TASK]
        items.append({"pairs": part, "records": {i: chunks.records[i] for pair in part for i in pair}})
    same: list[tuple[int, int]] = []
    for row in _run(items, _compare, config):
        likenesses: list[tuple[tuple[int, int], Likeness]] = row["likenesses"]
        same += [pair for pair, likeness in likenesses if likeness.same_photograph]
        verdicts.same_eye += [pair for pair, likeness in likenesses if likeness.only_same_eye]
    verdicts.drop_near_duplicates(same)


def _propose(item: Item, storage: Storage, shared: Any) -> Item:
    """Pairs of a chunk's images with any others, (n, 2), the smaller index first."""
    import ray

    indices_N, plain_NW = ray.get(shared)
    with storage.open_input(item["staged"]) as file:
        places, codes_QVW = read_codes(file)
    asked = np.array(places, np.int64) + item["start"]
    mine = np.isin(asked, indices_N)
    found = candidates(codes_QVW[mine], plain_NW) if mine.any() else np.zeros((0, 2), np.int64)
    pairs = np.sort(np.stack([asked[mine][found[:, 0]], indices_N[found[:, 1]]], axis=1), axis=1)
    return {"pairs": pairs[pairs[:, 0] != pairs[:, 1]]}


def _compare(item: Item, config: PrepareConfig) -> Item:
    likenesses = compare_records(item["pairs"], item["records"], config)
    return {"likenesses": list(zip(item["pairs"], likenesses, strict=True))}


def _second_pass(
    storage: Storage, folder: str, chunks: _Chunks, rows: Sequence[FinalRow | None], progress: Progress
) -> list[Written]:
    progress.update(len(chunks.records), "writing shards")
    items = []
    for chunk in range(len(chunks)):
        final = [rows[i] for i in chunks.span(chunk)]
        if any(row is not None for row in final):
            items.append({**chunks.item(chunk, final), "name": f"{folder}/images-{chunk:05d}.parquet"})
    return [row["written"] for row in _run(items, _finish, storage)]


def _finish(item: Item, storage: Storage) -> Item:
    final: list[FinalRow | None] = item["payload"]
    with storage.open_input(item["staged"]) as file:
        return {"written": storage.write_once(item["name"], finish_chunk(file, final))}


def _contact_sheet(
    storage: Storage, folder: str, chunks: _Chunks, verdicts: Verdicts, rows: Sequence[FinalRow | None]
) -> bytes:
    """A picture of some accepted and some rejected images."""
    gone = sorted(verdicts.rejections)
    accepted = pick_evenly(verdicts.kept, SHEET_ACCEPTED)
    rejected = pick_by_reason([(i, verdicts.rejections[i].reason) for i in gone], SHEET_REJECTED)
    pictures = _pictures(storage, chunks, [*accepted, *rejected])
    records = verdicts.records
    good = []
    for i in accepted:
        row = rows[i]
        assert row is not None
        good.append(Tile(pictures[i], (records[i].name, row.split, short_labels(row.labels))))
    bad = []
    for i in rejected:
        why = verdicts.rejections[i]
        bad.append(Tile(pictures[i], (records[i].name, why.reason.value.replace("_", " "), why.detail), rejected=True))
    counts = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in verdicts.counts().items() if n)
    return contact_sheet(
        f"{folder}: private, real photographs. Research use only, not a medical device.",
        [
            (f"Accepted: {len(verdicts.kept)} of {len(records)}, {len(good)} shown", good),
            (f"Rejected: {len(gone)}" + (f" ({counts}), {len(bad)} shown" if gone else ""), bad),
        ],
    )


def _pictures(storage: Storage, chunks: _Chunks, indices: Sequence[int]) -> dict[int, bytes | None]:
    """PNG bytes of some images, from the staged tables."""
    pictures: dict[int, bytes | None] = {}
    for chunk in sorted({index // chunks.rows for index in indices}):
        mine = [index for index in indices if index // chunks.rows == chunk]
        with storage.open_input(chunks.name(chunk)) as file:
            found = read_pictures(file, [index - chunks.span(chunk).start for index in mine])
        pictures.update(zip(mine, found, strict=True))
    return pictures
