"""Makes a release: selects the accepted samples and describes them. It draws nothing and asks no annotator.

A sample is accepted when `sample` verified it (it decodes, is not blank, is no copy of a training image). The release
is a folder that can leave the house as it is: rejected images, which may resemble a training image, stay behind in
`samples/`; so the accepted rows are copied, a shard at a time. docs/release.md describes each file.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synfundus.digests import canonical_json, sha256_hex
from synfundus.errors import AlreadyExistsError, WrongInputError
from synfundus.measures.editions import is_public
from synfundus.samples.card import dataset_card
from synfundus.samples.config import ReleaseConfig
from synfundus.samples.croissant import croissant
from synfundus.samples.export import SynFundusExport
from synfundus.samples.release_facts import ReleaseFacts, read_facts
from synfundus.samples.shards import ROW_GROUP_ROWS, read_samples
from synfundus.storage import Storage, Written, is_complete, read_manifest, write_manifest

ACCEPTED, CARD, CROISSANT, REPORT = "accepted.parquet", "README.md", "croissant.json", "report.html"
ACCEPTED_SCHEMA = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("attempt", pa.int16()),
        ("shard", pa.string()),
        ("shard_sha256", pa.string()),
        ("file", pa.string()),
    ]
)
"""Which attempt of each sample was accepted, in which shard of `samples/<name>/` it lies, and in which file here."""


@dataclass(frozen=True)
class Evidence:
    """What was measured about the samples."""

    metrics: Mapping[str, Any]
    """metrics.json of the evaluation."""
    annotator_metrics: Mapping[str, Any]
    """metrics.json of the annotator."""
    report_html: str
    """The report's public edition."""


def publish(
    storage: Storage, samples_folder: str, release_folder: str, config: ReleaseConfig, evidence: Evidence
) -> dict[str, Any]:
    """Write a release; its manifest comes last. A second call with the same input changes nothing.

    Returns:
        Summary: `num_accepted`, `num_unresolved`, `num_files`, `size_bytes`.

    Raises:
        WrongInputError: sampling has not finished, the report is not the public edition, nothing was accepted, or the
            name was used for another release.
    """
    if not is_public(evidence.report_html):
        raise WrongInputError("the report is not the public edition; a release must not show real photographs")
    facts = read_facts(storage, samples_folder)
    if facts.num_accepted == 0:
        raise WrongInputError(f"{samples_folder}: no sample was accepted, so there is nothing to release")
    inputs = _inputs(config, facts, evidence)
    if is_complete(storage, release_folder):
        return _released(storage, release_folder, inputs)
    try:
        objects = _write(storage, samples_folder, release_folder, config, facts, evidence)
    except AlreadyExistsError as error:
        remedy = "choose another name, or delete the unfinished release"
        raise WrongInputError(
            f"{release_folder} was begun from other samples or settings ({error}); {remedy}"
        ) from error
    summary = {
        "num_accepted": facts.num_accepted,
        "num_unresolved": facts.num_unresolved,
        "num_files": len(objects),
        "size_bytes": sum(item.size_bytes for item in objects),
    }
    write_manifest(storage, release_folder, objects, {"kind": "release", "inputs": inputs, "summary": summary})
    return summary


def _inputs(config: ReleaseConfig, facts: ReleaseFacts, evidence: Evidence) -> dict[str, Any]:
    """Everything that the release's bytes depend on."""
    return {
        "settings": config.model_dump(mode="json"),
        "samples_manifest_sha256": facts.samples_manifest,
        "generator": facts.generator,
        "annotator": facts.annotator,
        "metrics_sha256": sha256_hex(canonical_json(evidence.metrics)),
        "annotator_metrics_sha256": sha256_hex(canonical_json(evidence.annotator_metrics)),
        "report_sha256": sha256_hex(evidence.report_html.encode()),
    }


def _released(storage: Storage, release_folder: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Summary of a release that exists, if it is this one."""
    manifest = read_manifest(storage, release_folder)
    differ = [key for key, value in inputs.items() if manifest.get("inputs", {}).get(key) != value]
    if differ:
        what = ", ".join(differ)
        raise WrongInputError(f"{release_folder} exists and was made from other input ({what}); choose another name")
    return dict(manifest["summary"])


def _write(
    storage: Storage,
    samples_folder: str,
    release_folder: str,
    config: ReleaseConfig,
    facts: ReleaseFacts,
    evidence: Evidence,
) -> list[Written]:
    """All objects but the manifest."""
    manifest = read_manifest(storage, samples_folder)
    export = SynFundusExport(storage, release_folder) if config.synfundus_export else None
    data: list[Written] = []
    rows: list[pa.Table] = []
    for shard, table in read_samples(storage, samples_folder):
        file = _data_file(shard)
        data.append(storage.write_once(f"{release_folder}/{file}", _encode(table)))
        rows.append(_accepted_rows(table, shard, manifest["files"][shard]["sha256"], file))
        if export:
            export.add(table)
    accepted = pa.concat_tables(rows).sort_by("sample_id")
    documents = {
        ACCEPTED: _encode(accepted),
        CROISSANT: croissant(config, facts, data, release_folder),
        CARD: dataset_card(config, facts, evidence.metrics, evidence.annotator_metrics).encode(),
        REPORT: evidence.report_html.encode(),
    }
    written = [storage.write_once(f"{release_folder}/{name}", content) for name, content in documents.items()]
    return [*data, *(export.close() if export else []), *written]


def _data_file(shard: str) -> str:
    """Name here of a shard of the samples: `shards/shard-00000.parquet`, `replacements/1/shard-00000.parquet`."""
    path = PurePosixPath(shard)
    return f"data/{path.name}" if path.parts[0] == "shards" else f"data/replacement-{path.parts[1]}-{path.name}"


def _attempt(shard: str) -> int:
    path = PurePosixPath(shard)
    return 0 if path.parts[0] == "shards" else int(path.parts[1])


def _accepted_rows(table: pa.Table, shard: str, sha256: str, file: str) -> pa.Table:
    ids = table.column("sample_id").combine_chunks()
    n = len(ids)
    columns = [ids, [_attempt(shard)] * n, [shard] * n, [sha256] * n, [file] * n]
    return pa.table(columns, schema=ACCEPTED_SCHEMA)


def _encode(table: pa.Table) -> bytes:
    """A table as Parquet, its metadata kept (they tell `datasets` that `image` is an image)."""
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=ROW_GROUP_ROWS, compression="zstd")
    return sink.getvalue()
