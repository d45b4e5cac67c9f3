"""Write-once objects below one root URI, on disk or on S3."""

from synfundus.storage.base import FULL_DISK, MUTABLE, Storage, Written, below_root, refusing_other_content
from synfundus.storage.local import LocalStorage
from synfundus.storage.local_copies import LocalCopies
from synfundus.storage.manifest import (
    MANIFEST,
    METRICS,
    FileEntry,
    Manifest,
    is_complete,
    manifest_digest,
    read_manifest,
    read_record,
    read_trusted,
    write_manifest,
)
from synfundus.storage.open import open_storage

__all__ = [
    "FULL_DISK",
    "MANIFEST",
    "METRICS",
    "MUTABLE",
    "FileEntry",
    "LocalCopies",
    "LocalStorage",
    "Manifest",
    "Storage",
    "Written",
    "below_root",
    "is_complete",
    "manifest_digest",
    "open_storage",
    "read_manifest",
    "read_record",
    "read_trusted",
    "refusing_other_content",
    "write_manifest",
]
