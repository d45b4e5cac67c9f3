"""What `prepare` decides once all originals are seen: which stay, who their patient is, what is told of the rest."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from synfundus.digests import canonical_json
from synfundus.errors import WrongInputError
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.duplicates import Entry, choose
from synfundus.fundus.patients import hash_patient
from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.sources import SourceListing, SourceRecord
from synfundus.fundus.splits import SPLITS, assign_splits
from synfundus.fundus.staging import FinalRow, Staged
from synfundus.labels import LABEL_NAMES, LabelRow


def merge_listings(listings: Sequence[SourceListing]) -> SourceListing:
    """All sources as one, sorted by name; names of the second source on start with `sources.1/` and so on.

    Raises:
        WrongInputError: there is no image at all.
    """
    records: list[SourceRecord] = []
    rows_without_image: list[str] = []
    images_without_row: list[str] = []
    for number, listing in enumerate(listings):
        prefix = f"sources.{number}/" if number else ""
        records += [replace(record, name=prefix + record.name) if prefix else record for record in listing.records]
        rows_without_image += [prefix + row for row in listing.rows_without_image]
        images_without_row += [prefix + name for name in listing.images_without_row]
    if not records:
        raise WrongInputError("data.sources: no image found; check the paths of the sources")
    records.sort(key=lambda record: record.name)
    has_patients = any(listing.has_patients for listing in listings)
    return SourceListing(records, sorted(rows_without_image), sorted(images_without_row), has_patients)


def listing_digest(records: Sequence[SourceRecord]) -> str:
    """SHA-256 of names, labels, own splits and who shares a patient with whom; patient ids do not enter it."""
    digest = hashlib.sha256()
    groups: dict[str, int] = {}
    for record in records:
        group = None if record.patient_id is None else groups.setdefault(record.patient_id, len(groups))
        labels = [record.labels.get(name) for name in LABEL_NAMES]
        digest.update(canonical_json([record.name, labels, group, record.split]))
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Rejection:
    """One image that is not among the prepared ones."""

    index: int
    reason: ImageRejectionReason
    detail: str
    twin: int | None = None
    """The image that stays in its place, of a duplicate."""


@dataclass
class Verdicts:
    """Which originals stay. Indices are places in the sorted listing."""

    records: Sequence[SourceRecord]
    staged: Sequence[Staged]
    rejections: dict[int, Rejection] = field(default_factory=dict)
    same_eye: list[tuple[int, int]] = field(default_factory=list)
    """Different photographs that show one eye, among the proposed pairs."""

    def __post_init__(self) -> None:
        for index, found in enumerate(self.staged):
            if found.reason is not None:
                self.rejections[index] = Rejection(index, found.reason, found.detail)
        self._drop(self._exact_pairs(), ImageRejectionReason.EXACT_DUPLICATE)

    @property
    def kept(self) -> list[int]:
        return [index for index in range(len(self.records)) if index not in self.rejections]

    def drop_near_duplicates(self, same: Iterable[tuple[int, int]]) -> None:
        """Reject all but one of each photograph; `same` are pairs that the comparison found to be one."""
        self._drop(same, ImageRejectionReason.NEAR_DUPLICATE)

    @property
    def pairs_of_copies(self) -> list[tuple[int, int]]:
        """Each dropped copy with the image that stays for it."""
        return [(self._stays_for(r), r.index) for r in self.rejections.values() if r.twin is not None]

    def _exact_pairs(self) -> list[tuple[int, int]]:
        """Pairs of equal source bytes or equal prepared pixels: each with the best of its kind."""
        pairs = []
        for key in ("image_id", "pixels"):
            best: dict[str, int] = {}
            for index in sorted(self.kept, key=lambda i: self._entry(i).rank):
                first = best.setdefault(getattr(self.staged[index], key), index)
                if first != index:
                    pairs.append((first, index))
        return pairs

    def _entry(self, index: int) -> Entry:
        known = sum(value is not None for value in self.records[index].labels.values())
        return Entry(self.records[index].name, self.staged[index].field_px, known)

    def _drop(self, pairs: Iterable[tuple[int, int]], reason: ImageRejectionReason) -> None:
        pairs = list(pairs)
        entries = {index: self._entry(index) for pair in pairs for index in pair}
        for index, twin in choose(entries, pairs).items():
            self.rejections[index] = Rejection(index, reason, f"copy of {self.records[twin].name}", twin)

    def counts(self) -> dict[str, int]:
        """Number of images by reason, every reason named."""
        found = Counter(rejection.reason for rejection in self.rejections.values())
        return {reason.value: found[reason] for reason in ImageRejectionReason}

    def require_any(self) -> None:
        """Raises WrongInputError if no image is left."""
        if len(self.rejections) < len(self.records):
            return
        counts = ", ".join(f"{n} {reason}" for reason, n in self.counts().items() if n)
        first = self.rejections[0]
        raise WrongInputError(
            f"data.sources: none of {len(self.records)} images is left ({counts});"
            f" first: {self.records[0].name}: {first.detail}; check the sources and data.prepare"
        )

    def report(self, listing: SourceListing) -> dict[str, Any]:
        """Content of `rejected.json`. It names source files: private."""
        return {
            "counts": self.counts(),
            "images": [self._describe(self.rejections[index]) for index in sorted(self.rejections)],
            "same_eye": [
                {
                    "names": [self.records[i].name, self.records[j].name],
                    "same_patient": self.records[i].patient_id == self.records[j].patient_id is not None,
                }
                for i, j in sorted(self.same_eye)
                if i not in self.rejections and j not in self.rejections
            ],
            "rows_without_image": listing.rows_without_image,
            "images_without_row": listing.images_without_row,
        }

    def _stays_for(self, rejection: Rejection) -> int:
        """The image that stays: an exact copy's twin may itself be a near copy of another."""
        last = rejection.twin
        while last in self.rejections:
            last = self.rejections[last].twin
        assert last is not None
        return last

    def _describe(self, rejection: Rejection) -> dict[str, Any]:
        record = self.records[rejection.index]
        row: dict[str, Any] = {"name": record.name, "reason": rejection.reason.value, "detail": rejection.detail}
        if rejection.twin is not None:
            twin = self.records[self._stays_for(rejection)]
            row["twin"] = twin.name
            row["conflicts"] = label_conflicts(twin.labels, record.labels)
            row["same_patient"] = twin.patient_id == record.patient_id
        return row


def label_conflicts(kept: LabelRow, dropped: LabelRow) -> dict[str, list[int]]:
    """Labels that two copies of one photograph contradict each other in: name -> [kept value, dropped value]."""
    conflicts = {}
    for name in LABEL_NAMES:
        one, other = kept.get(name), dropped.get(name)
        if one is not None and other is not None and one != other:
            conflicts[name] = [one, other]
    return conflicts


def final_rows(verdicts: Verdicts, config: PrepareConfig, key: bytes) -> list[FinalRow | None]:
    """Patient hash, split and labels of every image that stays, None for the others.

    An image without a patient id counts as a patient of its own, named by its bytes.
    """
    kept = verdicts.kept
    patients = [_patient(verdicts.records[i], verdicts.staged[i]) for i in kept]
    own = [verdicts.records[i].split for i in kept]
    splits = assign_splits(patients, own, config.split_seed, config.split_fractions)
    rows: list[FinalRow | None] = [None] * len(verdicts.records)
    for index, patient, split in zip(kept, patients, splits, strict=True):
        rows[index] = FinalRow(hash_patient(key, patient), split, verdicts.records[index].labels)
    return rows


def _patient(record: SourceRecord, staged: Staged) -> str:
    return f"image:{staged.image_id}" if record.patient_id is None else f"patient:{record.patient_id}"


def facts(listing: SourceListing, verdicts: Verdicts, rows: Sequence[FinalRow | None]) -> dict[str, Any]:
    """What the manifest says of the images, beside digests."""
    stay = [row for row in rows if row is not None]
    alone = sum(verdicts.records[index].patient_id is None for index in verdicts.kept)
    values: Mapping[str, Counter[int | None]] = {
        name: Counter(row.labels.get(name) for row in stay) for name in LABEL_NAMES
    }
    return {
        "num_images": {split: sum(row.split == split for row in stay) for split in SPLITS},
        "num_patients": {split: len({row.patient for row in stay if row.split == split}) for split in SPLITS},
        "images_counted_as_patient": alone,
        "sources": {
            name: {"expert": len(stay) - count[None], "filled": 0, "unknown": count[None]}
            for name, count in values.items()
        },
        "values": {
            name: {str(value): n for value, n in sorted((v, n) for v, n in count.items() if v is not None)}
            for name, count in values.items()
        },
        "rejected": verdicts.counts(),
        "label_conflicts": sum(
            bool(label_conflicts(verdicts.records[stays].labels, verdicts.records[goes].labels))
            for stays, goes in verdicts.pairs_of_copies
        ),
        "rows_without_image": len(listing.rows_without_image),
        "images_without_row": len(listing.images_without_row),
    }
