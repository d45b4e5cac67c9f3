"""The content of a source, and the part of it that is not used, in lines that a person reads before anything runs."""

from collections import Counter
from collections.abc import Sequence

from synfundus.fundus.sources import SourceListing
from synfundus.labels import LABEL_NAMES

NUM_EXAMPLES = 3
"""Names that a line shows; `rejected.json` lists all."""


def source_rows(listing: SourceListing) -> list[tuple[str, str]]:
    """Return name and value of each line: images, patients, labels with counts by value, and everything not used."""
    rows = [("images", str(len(listing.records))), ("patients", _patients(listing))]
    rows += [
        ("release", f"{release.title}, version {release.version}; SHA-256 of its manifest {release.manifest_sha256}")
        for release in listing.origin.releases
    ]
    values = {name: _values(listing, name) for name in LABEL_NAMES}
    rows += [(name, line) for name, line in values.items() if line is not None]
    if empty := [name for name in LABEL_NAMES if name in listing.label_columns and values[name] is None]:
        rows.append(("columns without value", ", ".join(listing.label_columns[name] for name in empty)))
    for table in listing.tables:
        if table.unused_columns:
            rows.append(("columns not used", f"{', '.join(table.unused_columns)} ({table.name})"))
    rows.append(("rows without image", _examples(listing.rows_without_image)))
    rows.append(("images without row", _examples(listing.images_without_row)))
    return rows + warning_rows(listing)


def warning_rows(listing: SourceListing) -> list[tuple[str, str]]:
    """Return a line for each table of which fewer than half of the rows find an image, and one if no label is known."""
    rows = [("warning", table.warning) for table in listing.tables if table.warning is not None]
    if not any(value is not None for record in listing.records for value in record.labels.values()):
        rows.append(("warning", "no image has a label"))
    return rows


def _patients(listing: SourceListing) -> str:
    known = Counter(record.patient_id for record in listing.records)
    without = known.pop(None, 0)
    if not known:
        return "no patient is named: each image counts as a patient"
    each = f"; {without} images without patient count as a patient each" if without else ""
    return f"{len(known)}{each}"


def _values(listing: SourceListing, name: str) -> str | None:
    """Return the number of images by value, and the column if its name is not the label's; None without any value."""
    known = [value for record in listing.records if (value := record.labels.get(name)) is not None]
    if not known:
        return None
    counts, column = Counter(known), listing.label_columns.get(name, name)
    values = ", ".join(f"{value}: {counts[value]}" for value in sorted(counts))
    source = "" if column == name else f" (column {column!r})"
    return f"{values}; unknown: {len(listing.records) - len(known)}{source}"


def _examples(names: Sequence[str]) -> str:
    if not names:
        return "0"
    more = ", ..." if len(names) > NUM_EXAMPLES else ""
    return f"{len(names)} ({', '.join(names[:NUM_EXAMPLES])}{more})"
