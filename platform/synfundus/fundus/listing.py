"""The listings of all sources of a study as one, and its digest."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from synfundus.digests import canonical_json
from synfundus.errors import WrongInputError
from synfundus.fundus.origin import merge_origins
from synfundus.fundus.sources import SourceListing, SourceRecord
from synfundus.labels import LABEL_NAMES


def merge_listings(listings: Sequence[SourceListing]) -> SourceListing:
    """Return all sources as one listing, sorted by name.

    Names of the first source stay; those of the second start with `sources.1/`, and so on.

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
    tables = tuple(table for listing in listings for table in listing.tables)
    return SourceListing(
        records,
        sorted(rows_without_image),
        sorted(images_without_row),
        has_patients,
        tables,
        origin=merge_origins(listing.origin for listing in listings),
    )


def listing_digest(records: Sequence[SourceRecord]) -> str:
    """Return the SHA-256 of names, labels, own splits and grouping by patient; patient ids do not enter it."""
    digest = hashlib.sha256()
    groups: dict[str, int] = {}
    for record in records:
        group = None if record.patient_id is None else groups.setdefault(record.patient_id, len(groups))
        labels = [record.labels.get(name) for name in LABEL_NAMES]
        digest.update(canonical_json([record.name, labels, group, record.split]))
    return digest.hexdigest()
