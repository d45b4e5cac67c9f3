"""A release of this program (`synfundus publish`): its accepted samples, as the images of another study.

The manifest of the release says what belongs to it. Refused are an unfinished release, files that differ from the
manifest, and the private edition of a report. A listing opens each Parquet file, but reads ids and labels only. The
SHA-256 of a file is compared before its first image is read, once per process.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from synfundus.config import Config
from synfundus.digests import sha256_hex
from synfundus.errors import StorageError, WrongInputError
from synfundus.fundus.origin import GateOverride, Origin, ReleaseOrigin
from synfundus.fundus.sources.base import SourceListing, SourceRecord
from synfundus.fundus.sources.image_folder import existing_folder
from synfundus.fundus.sources.place import Place, S3Place
from synfundus.labels import LABEL_NAMES, LabelRow, SampleLabels, choose_labels
from synfundus.measures.editions import is_public
from synfundus.storage import MANIFEST, LocalStorage, Manifest, Storage, is_complete, read_manifest

REPORT, DATA = "report.html", "data/"
"""Report of a release, and the folder of its Parquet files."""
REQUESTED, PREDICTED = "condition", "annotation"
"""Start of the names of the columns of a label."""
LABEL_COLUMNS: dict[SampleLabels, str] = {
    "requested": f"{REQUESTED}_{{0}}",
    "predicted": f"{PREDICTED}_{{0}}",
    "agreeing": f"{REQUESTED}_{{0}} and {PREDICTED}_{{0}}",
}
"""Names of the columns that a label is read from."""
DIGEST_CHARACTERS = 12
"""Characters of the release's digest in the name of an image, so that another release has other names."""
HASHED_BYTES = 2**20
"""Bytes of a file that are read at once for its SHA-256."""


class _Statements(BaseModel):
    """Statements of the makers of a release."""

    title: str
    version: str
    licence: str
    data_statement: str


class _Inputs(BaseModel):
    """Origin of a release."""

    config: _Statements
    generator_digest: str
    annotator_digest: str
    origin: Origin


class _Counts(BaseModel):
    """Size of a release."""

    num_accepted: int


class _ReleaseManifest(Manifest):
    """The entries that a source needs of the manifest of a release; `samples/manifest.py` defines all."""

    model_config = ConfigDict(extra="ignore")

    kind: Literal["release"] = "release"
    inputs: _Inputs
    override: GateOverride | None = None
    summary: _Counts


class ReleaseSource(Config):
    """A release that `synfundus publish` wrote. It names no patients, so each image counts as a patient of its own."""

    layout: Literal["release"]
    """Release of this program."""
    path: str
    """Folder of the release, such as `releases/demo` below the root of the study that made it."""
    labels: SampleLabels = "requested"
    """Labels of the images: `requested` (what the generator was conditioned on), `predicted` (what the annotator of the
    release predicted), or `agreeing` (known only where both are equal)."""

    def listing(self) -> SourceListing:
        """List the accepted samples with their labels; no image is read.

        Raises:
            WrongInputError: the folder holds no complete release, a file is missing or differs from the manifest, or
                the report is the private edition.
        """
        release = _open_release(self.path)
        records = release.records(self.labels)
        return SourceListing(
            records=records,
            rows_without_image=[],
            images_without_row=[],
            has_patients=False,
            label_columns={name: LABEL_COLUMNS[self.labels].format(name) for name in LABEL_NAMES},
            origin=Origin(releases=(release.origin(self.labels),), has_other_sources=False),
        )


@dataclass(frozen=True, slots=True)
class ReleasedFile:
    """A file that the manifest of a release names."""

    storage: Storage
    name: str
    sha256: str

    def differs(self, how: str) -> WrongInputError:
        """Return the error that says how the file differs from the manifest."""
        return WrongInputError(f"{self.storage.uri(self.name)}: {how}; fetch the release again")

    def require_unchanged(self) -> None:
        """Compare the SHA-256 of the file with the manifest.

        Raises:
            WrongInputError: it differs.
        """
        digest = hashlib.sha256()
        with self.storage.open_input(self.name) as source:
            while block := source.read(HASHED_BYTES):
                digest.update(block)
        if digest.hexdigest() != self.sha256:
            raise self.differs("its SHA-256 is not that of the release's manifest")


@dataclass(frozen=True, slots=True)
class ReleasedImage:
    """An image in a Parquet file of a release."""

    file: ReleasedFile
    row_group: int
    """Group of rows of the Parquet file."""
    row: int
    """Row within the group."""

    def load(self) -> bytes:
        """Return the image file as it was published.

        Raises:
            WrongInputError: the Parquet file differs from the manifest of the release.
            StorageError: it cannot be read.
        """
        _require_unchanged_once(self.file)
        return _images(self.file, self.row_group)[self.row]


_require_unchanged_once = lru_cache(maxsize=None)(ReleasedFile.require_unchanged)


@lru_cache(maxsize=2)
def _images(file: ReleasedFile, row_group: int) -> list[bytes]:
    """Return the image files of a group of rows. Two groups stay in memory, because pairs of images are compared."""
    from synfundus.storage.parquet import open_parquet

    with file.storage.open_input(file.name) as source:
        column = open_parquet(source).read_row_group(row_group, columns=["image.bytes"]).column("image")
    return [image["bytes"] for image in column.to_pylist()]


@dataclass(frozen=True)
class _Release:
    """A complete release."""

    storage: Storage
    folder: str
    manifest: _ReleaseManifest
    digest: str
    """SHA-256 of the manifest."""

    def file(self, name: str) -> ReleasedFile:
        """Return a file of the release, whose size is that of the manifest.

        Raises:
            WrongInputError: the manifest does not name the file, it is missing, or its size differs.
        """
        entry = self.manifest.files.get(name)
        file = ReleasedFile(self.storage, f"{self.folder}/{name}", "" if entry is None else entry.sha256)
        if entry is None:
            raise file.differs("the release's manifest does not name it")
        if not self.storage.exists(file.name):
            raise file.differs("no such file, but the release's manifest names it")
        with self.storage.open_input(file.name) as source:
            size_bytes = source.size()
        if size_bytes != entry.size_bytes:
            raise file.differs(f"{size_bytes} bytes, {entry.size_bytes} in the release's manifest")
        return file

    def records(self, labels: SampleLabels) -> list[SourceRecord]:
        """Return all images, sorted by name. Records of equal labels share one mapping.

        Raises:
            WrongInputError: a Parquet file is not readable, or the manifest counts another number of images.
        """
        shared: dict[tuple[int | None, ...], LabelRow] = {}
        records = []
        for name in self.manifest.shards:
            if not name.startswith(DATA):
                continue
            file, stem = self.file(name), name.removeprefix(DATA).removesuffix(".parquet")
            for row_group, row, sample_id, requested, predicted in _rows(file):
                chosen = choose_labels(requested, predicted, labels)
                records.append(
                    SourceRecord(
                        name=f"release-{self.digest[:DIGEST_CHARACTERS]}/{stem}/{sample_id:09d}",
                        read=ReleasedImage(file, row_group, row),
                        labels=shared.setdefault(tuple(chosen.values()), chosen),
                    )
                )
        if len(records) != self.manifest.summary.num_accepted:
            raise WrongInputError(
                f"{self.storage.uri(self.folder)}: {len(records)} images, {self.manifest.summary.num_accepted} in"
                f" {MANIFEST}; fetch the release again"
            )
        return sorted(records, key=lambda record: record.name)

    def origin(self, labels: SampleLabels) -> ReleaseOrigin:
        """Return this release as a link of a chain."""
        inputs = self.manifest.inputs
        return ReleaseOrigin(
            **inputs.config.model_dump(),
            manifest_sha256=self.digest,
            generator_digest=inputs.generator_digest,
            annotator_digest=inputs.annotator_digest,
            num_images=self.manifest.summary.num_accepted,
            labels=labels,
            gate_override=self.manifest.override,
            made_from=inputs.origin,
        )


def _open_release(path: str) -> _Release:
    """Read the manifest of a release, and refuse a report that is not the public edition.

    Raises:
        WrongInputError: see `ReleaseSource.listing`.
    """
    storage, folder = _storage_of(existing_folder(path))
    if not is_complete(storage, folder):
        raise WrongInputError(
            f"{path}: no {MANIFEST} in it, so this is no complete release; name a folder that `synfundus publish` wrote"
        )
    digest = sha256_hex(storage.read(f"{folder}/{MANIFEST}"))
    try:
        manifest = read_manifest(storage, folder, _ReleaseManifest)
    except WrongInputError:
        raise WrongInputError(f"{path}: this folder holds no release; name one below `releases/`") from None
    except StorageError as error:
        raise WrongInputError(
            f"{path}: {MANIFEST} is not that of a release of this version; fetch the release again, or publish it again"
        ) from error
    release = _Release(storage, folder, manifest, digest)
    name = f"{folder}/{REPORT}"
    if storage.exists(name) and not is_public(storage.read(name).decode(errors="replace")):
        raise WrongInputError(
            f"{storage.uri(name)}: not the public edition of a report, so the folder may show photographs of patients;"
            " take it back from wherever it was sent, and run `synfundus publish` again"
        )
    release.file(REPORT).require_unchanged()
    return release


def _storage_of(place: Place) -> tuple[Storage, str]:
    """Return a storage whose root is the file system or the bucket of a place, and the name of the place in it."""
    if isinstance(place, S3Place):
        from synfundus.storage.s3 import S3Storage  # boto3 takes half a second to import

        bucket, *key = place.parts
        return S3Storage(bucket, "", place.environment), "/".join(key) or "."
    path = place.absolute()
    return LocalStorage(Path(path.anchor).as_uri()), path.relative_to(path.anchor).as_posix()


def _rows(file: ReleasedFile) -> Iterator[tuple[int, int, int, LabelRow, LabelRow]]:
    """Yield group, row, sample id, requested and predicted labels of each image of a Parquet file.

    Raises:
        WrongInputError: the file is no Parquet file with these columns.
    """
    from pyarrow import ArrowException

    from synfundus.storage.parquet import open_parquet

    columns = ["sample_id", *(f"{kind}_{name}" for kind in (REQUESTED, PREDICTED) for name in LABEL_NAMES)]
    try:
        with file.storage.open_input(file.name) as source:
            parquet = open_parquet(source)
            groups = [
                parquet.read_row_group(number, columns=columns).select(columns).to_pydict()
                for number in range(parquet.num_row_groups)
            ]
    except (ArrowException, OSError, KeyError) as error:
        raise file.differs(f"no Parquet file of a release ({' '.join(str(error).split())})") from error
    for number, group in enumerate(groups):
        for row, sample_id in enumerate(group["sample_id"]):
            yield number, row, sample_id, _labels(group, REQUESTED, row), _labels(group, PREDICTED, row)


def _labels(group: dict[str, list[Any]], kind: str, row: int) -> LabelRow:
    """Return the requested or the predicted labels of a row."""
    return {name: group[f"{kind}_{name}"][row] for name in LABEL_NAMES}
