"""Manifests of datasets that tests write by hand."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from synfundus.fundus.manifest import DataManifest, LabelSources, SplitCounts
from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.splits import SPLITS, SplitFractions
from synfundus.labels import LABEL_NAMES


def data_manifest(rows: Sequence[Mapping[str, Any]], size_px: int) -> DataManifest:
    """Return the manifest of a dataset with these rows (columns of `fundus.shard.SCHEMA`), before its files."""
    patients = {split: {row["patient"] for row in rows if row["split"] == split} for split in SPLITS}
    values = {name: Counter(row.get(name) for row in rows) for name in LABEL_NAMES}
    return DataManifest(
        digest="digest of the settings",
        size_px=size_px,
        images_digest="digest of the originals",
        patient_key="fingerprint",
        split_seed=0,
        split_fractions=SplitFractions(),
        num_images=SplitCounts(**Counter(row["split"] for row in rows)),
        num_patients=SplitCounts(**{split: len(found) for split, found in patients.items()}),
        images_counted_as_patient=0,
        sources={name: LabelSources(expert=len(rows) - v[None], unknown=v[None]) for name, v in values.items()},
        values={name: {value: n for value, n in v.items() if value is not None} for name, v in values.items()},
        rejected=dict.fromkeys(ImageRejectionReason, 0),
        label_conflicts=0,
        rows_without_image=0,
        images_without_row=0,
    )
