"""Assign patients and splits to the accepted images, and make the manifest of the dataset."""

from collections import Counter
from collections.abc import Sequence

from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.listing import listing_digest
from synfundus.fundus.manifest import DataManifest, LabelSources, SplitCounts
from synfundus.fundus.patient_groups import join_patients
from synfundus.fundus.patients import hash_patient, key_digest
from synfundus.fundus.sources import SourceListing, SourceRecord
from synfundus.fundus.splits import SPLITS, assign_splits
from synfundus.fundus.staging import FinalRow, Staged
from synfundus.fundus.verdicts import Verdicts
from synfundus.labels import LABEL_NAMES


def final_rows(verdicts: Verdicts, config: PrepareConfig, key: bytes) -> list[FinalRow | None]:
    """Return patient hash, split and labels of every accepted image, None for the others.

    An image without a patient id counts as a patient of its own, named by its bytes. Patients who share an eye are one,
    unless more than two ids have it (`Verdicts.shared_images`).

    Args:
        key: key of the patient hashes.
    """
    accepted = verdicts.accepted
    joined = _joined_patients(verdicts)
    patients = [joined[i] for i in accepted]
    own_splits = [verdicts.records[i].split for i in accepted]
    labelled = [any(value is not None for value in verdicts.records[i].labels.values()) for i in accepted]
    splits = assign_splits(patients, own_splits, labelled, config.split_seed, config.split_fractions)
    rows: list[FinalRow | None] = [None] * len(verdicts.records)
    for index, patient, split in zip(accepted, patients, splits, strict=True):
        rows[index] = FinalRow(hash_patient(key, patient), split, verdicts.records[index].labels)
    return rows


IMAGE = "image:"
"""Begins the name of a patient without id. It sorts before `patient:`, so a group that holds an id is named by one."""


def _patient(record: SourceRecord, staged: Staged) -> str:
    return f"{IMAGE}{staged.image_id}" if record.patient_id is None else f"patient:{record.patient_id}"


def _joined_patients(verdicts: Verdicts) -> list[str]:
    """Return the name of the patient of each image, accepted or not."""
    named = [_patient(*outcome) for outcome in zip(verdicts.records, verdicts.staged, strict=True)]
    return join_patients(named, verdicts.pairs_of_one_eye)


def data_manifest(
    listing: SourceListing,
    verdicts: Verdicts,
    rows: Sequence[FinalRow | None],
    config: PrepareConfig,
    digest: str,
    key: bytes,
) -> DataManifest:
    """Return the manifest of the prepared images, before its files.

    Args:
        rows: result of `final_rows`.
        digest: digest of every setting that the images depend on.
        key: key of the patient hashes.
    """
    accepted = [row for row in rows if row is not None]
    counts = {name: Counter(row.labels.get(name) for row in accepted) for name in LABEL_NAMES}
    patients = {split: {row.patient for row in accepted if row.split == split} for split in SPLITS}
    joined = _joined_patients(verdicts)
    num_images_of = Counter(joined[index] for index in verdicts.accepted)
    return DataManifest(
        digest=digest,
        size_px=config.size_px,
        images_digest=listing_digest(listing.records),
        patient_key=key_digest(key),
        split_seed=config.split_seed,
        split_fractions=config.split_fractions,
        num_images=SplitCounts(**Counter(row.split for row in accepted)),
        num_patients=SplitCounts(**{split: len(found) for split, found in patients.items()}),
        images_counted_as_patient=sum(n == 1 and name.startswith(IMAGE) for name, n in num_images_of.items()),
        joined_patient_ids=_num_joined(verdicts, joined),
        shared_images=len(verdicts.shared_images),
        sources={name: LabelSources(expert=n.total() - n[None], unknown=n[None]) for name, n in counts.items()},
        values={name: {value: n for value, n in count.items() if value is not None} for name, count in counts.items()},
        rejected=verdicts.counts(),
        label_conflicts=verdicts.num_label_conflicts,
        rows_without_image=len(listing.rows_without_image),
        images_without_row=len(listing.images_without_row),
        origin=listing.origin,
    )


def _num_joined(verdicts: Verdicts, joined: Sequence[str]) -> int:
    """Return the number of patient ids that belong to the patient of another id.

    Args:
        joined: result of `_joined_patients`.
    """
    patient_of = {record.patient_id: patient for record, patient in zip(verdicts.records, joined, strict=True)}
    patient_of.pop(None, None)
    return len(patient_of) - len(set(patient_of.values()))
