"""Make a release: copy the accepted samples and describe them. Nothing is sampled or annotated here.

A release is a folder that can leave the institution as it is. Rejected images, which may resemble a training image,
stay in `samples/`; so the accepted rows are copied, one shard at a time. docs/release.md describes each file.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import pyarrow as pa

from synfundus.diagnosis.metrics import AnnotatorMetrics
from synfundus.errors import AlreadyExistsError, WrongInputError
from synfundus.fundus.origin import GateOverride
from synfundus.measures.editions import is_public
from synfundus.measures.metrics import EvaluationMetrics
from synfundus.measures.privacy import PrivacyVerdict
from synfundus.samples.card import dataset_card
from synfundus.samples.croissant import croissant
from synfundus.samples.export import SynFundusExport
from synfundus.samples.manifest import ReleaseCounts, ReleaseInputs, ReleaseManifest, SamplesManifest
from synfundus.samples.release_config import ReleaseConfig
from synfundus.samples.release_metadata import ReleaseMetadata, read_release_metadata
from synfundus.samples.shards import attempt_of, read_samples
from synfundus.storage import Storage, Written, read_manifest, write_manifest
from synfundus.storage.parquet import encode_parquet

ACCEPTED: Final = "accepted.parquet"
CARD: Final = "README.md"
CROISSANT: Final = "croissant.json"
REPORT: Final = "report.html"
PRIVACY_PAGE: Final = "privacy.html"
ACCEPTED_SCHEMA = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("attempt", pa.int16()),
        ("shard", pa.string()),
        ("shard_sha256", pa.string()),
        ("file", pa.string()),
    ]
)
"""Accepted attempt of each sample, its shard in `samples/<name>/`, and its file in the release."""


@dataclass(frozen=True)
class Evidence:
    """Results of the evaluation, which the card and the release show."""

    metrics: EvaluationMetrics
    annotator_metrics: AnnotatorMetrics
    report_html: str
    """Public edition of the report."""
    privacy_html: str
    """The privacy page: the verdict of the privacy gate."""


def publish(
    storage: Storage, samples_folder: str, release_folder: str, inputs: ReleaseInputs, evidence: Evidence, digest: str
) -> ReleaseManifest:
    """Write a release and return its manifest, which is written last. Equal inputs give equal bytes.

    Args:
        inputs: settings and digests that the manifest names.
        digest: digest of the stage, for the manifest.

    Raises:
        WrongInputError: the privacy gate fails and is not overridden, sampling has not finished, no sample was
            accepted, the report is the private edition, or the folder holds another release.
    """
    override = require_passed_gate(evidence.metrics.verdict, inputs.config)
    if not is_public(evidence.report_html):
        raise WrongInputError(
            "report: this is not the public edition; a release must not show real photographs, so run `evaluate` again"
        )
    metadata = read_release_metadata(storage, samples_folder, initial_weights=evidence.metrics.audit.initial_weights)
    if metadata.num_accepted == 0:
        raise WrongInputError(f"{samples_folder}: no sample was accepted, so there is nothing to release")
    try:
        objects = _write_files(storage, samples_folder, release_folder, inputs.config, metadata, evidence)
        summary = ReleaseCounts(
            num_accepted=metadata.num_accepted,
            num_unresolved=metadata.num_unresolved,
            num_files=len(objects),
            size_bytes=sum(item.size_bytes for item in objects),
        )
        manifest = ReleaseManifest(digest=digest, inputs=inputs, override=override, summary=summary)
        return write_manifest(storage, release_folder, objects, manifest)
    except AlreadyExistsError as error:
        raise WrongInputError(
            f"{release_folder} was begun with other samples or settings ({error});"
            " choose another name, or delete the unfinished release"
        ) from error


def require_passed_gate(verdict: PrivacyVerdict, config: ReleaseConfig) -> GateOverride | None:
    """Refuse a release whose privacy gate fails, unless its makers override the gate in words; return these.

    Raises:
        WrongInputError: the gate fails; the message names each reason.
    """
    if verdict.passed("images"):
        return None
    if config.privacy_override is not None:
        return GateOverride(words=config.privacy_override, reasons=tuple(verdict.reasons))
    raise WrongInputError(
        f"privacy gate: failed, so nothing is released. {'. '.join(verdict.reasons)}. Train the generator for fewer"
        " steps or on more patients, or state in release.privacy_override why the images may be released nevertheless;"
        " these words are printed on the card"
    )


def _write_files(
    storage: Storage,
    samples_folder: str,
    release_folder: str,
    config: ReleaseConfig,
    metadata: ReleaseMetadata,
    evidence: Evidence,
) -> list[Written]:
    """Write all objects but the manifest."""
    manifest = read_manifest(storage, samples_folder, SamplesManifest)
    export = SynFundusExport(storage, release_folder) if config.synfundus_export else None
    data: list[Written] = []
    rows: list[pa.Table] = []
    for shard, table in read_samples(storage, samples_folder):
        file = _data_file(shard)
        data.append(storage.write_once(f"{release_folder}/{file}", encode_parquet(table)))
        rows.append(_accepted_rows(table, shard, manifest.files[shard].sha256, file))
        if export:
            export.add(table)
    accepted = pa.concat_tables(rows).sort_by("sample_id")
    documents = {
        ACCEPTED: encode_parquet(accepted),
        CROISSANT: croissant(config, metadata, data, release_folder),
        CARD: dataset_card(config, metadata, evidence.metrics, evidence.annotator_metrics).encode(),
        REPORT: evidence.report_html.encode(),
        PRIVACY_PAGE: evidence.privacy_html.encode(),
    }
    written = [storage.write_once(f"{release_folder}/{name}", content) for name, content in documents.items()]
    return [*data, *(export.close() if export else []), *written]


def _data_file(shard: str) -> str:
    """Return the file of the release that holds the accepted rows of a shard."""
    name, attempt = PurePosixPath(shard).name, attempt_of(shard)
    return f"data/replacement-{attempt}-{name}" if attempt else f"data/{name}"


def _accepted_rows(table: pa.Table, shard: str, sha256: str, file: str) -> pa.Table:
    """Return the rows of `accepted.parquet` for the accepted samples of one shard."""
    ids = table.column("sample_id").combine_chunks()
    n = len(ids)
    columns = [ids, [attempt_of(shard)] * n, [shard] * n, [sha256] * n, [file] * n]
    return pa.table(columns, schema=ACCEPTED_SCHEMA)
