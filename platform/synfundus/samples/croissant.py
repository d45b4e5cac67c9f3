"""`croissant.json`: description of a release as Croissant 1.0 JSON-LD (docs.mlcommons.org/croissant) with RAI fields.

Programs that read Croissant load the samples from it, and verify the SHA-256 of each Parquet file.
"""

import json
from collections.abc import Sequence
from importlib import resources

from pydantic import JsonValue

from synfundus.digests import canonical_json
from synfundus.labels import LABEL_NAMES, LABELS
from synfundus.measures.wording import RESEARCH_ONLY
from synfundus.samples.chain import chain_sentences
from synfundus.samples.release_config import ReleaseConfig
from synfundus.samples.release_metadata import INTENDED_USES, LIMITATIONS, ReleaseMetadata
from synfundus.storage import Written

JsonObject = dict[str, JsonValue]
RECORD_SET, FILE_SET = "samples", "parquet-files"
PARQUET = "application/x-parquet"


def croissant(config: ReleaseConfig, metadata: ReleaseMetadata, files: Sequence[Written], release_folder: str) -> bytes:
    """Return the description of a release; `files` are the Parquet files in `data/`."""
    context = resources.files("synfundus.samples") / "templates" / "croissant_context.json"
    document: JsonObject = {
        "@context": json.loads(context.read_text()),
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": config.title,
        "description": f"{metadata.num_accepted} synthetic fundus photographs with the labels requested from the"
        f" generator and the labels predicted by an AI annotator. {RESEARCH_ONLY}",
        "license": licence_url(config.licence),
        "version": config.version,
        "datePublished": config.date_published.isoformat(),
        "inLanguage": ["en"],
        "isLiveDataset": False,
        "citeAs": citation(config),
        "keywords": ["fundus photography", "synthetic data", "ophthalmology", "diffusion model"],
        "distribution": [*(_file(item, release_folder) for item in files), _file_set()],
        "recordSet": [_record_set()],
        **_responsible_ai(config, metadata),
    }
    if config.authors:
        document["creator"] = [{"@type": "sc:Organization", "name": name} for name in config.authors]
    if config.homepage:
        document["url"] = config.homepage
    return canonical_json(document)


def licence_url(licence: str) -> str:
    """Return the page of an SPDX licence; the name of any other licence."""
    spdx = " " not in licence and "/" not in licence
    return f"https://spdx.org/licenses/{licence}.html" if spdx else licence


def citation(config: ReleaseConfig) -> str:
    """Return the citation in one line."""
    authors = ", ".join(config.authors) or "Anonymous"
    return f"{authors} ({config.date_published.year}). {config.title}, version {config.version}."


def _file(item: Written, release_folder: str) -> JsonObject:
    """Return the description of one Parquet file."""
    name = item.name.removeprefix(f"{release_folder}/")
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name.rpartition("/")[2],
        "contentUrl": name,
        "contentSize": f"{item.size_bytes} B",
        "encodingFormat": PARQUET,
        "sha256": item.sha256,
    }


def _file_set() -> JsonObject:
    """Return the set of all Parquet files, from which the columns are read."""
    return {
        "@type": "cr:FileSet",
        "@id": FILE_SET,
        "name": FILE_SET,
        "encodingFormat": PARQUET,
        "includes": "data/*.parquet",
    }


def _record_set() -> JsonValue:
    """Return the description of the rows, with the column that identifies one."""
    return {
        "@type": "cr:RecordSet",
        "@id": RECORD_SET,
        "name": RECORD_SET,
        "description": "One row for each accepted sample.",
        "key": {"@id": f"{RECORD_SET}/sample_id"},
        "field": _fields(),
    }


def _fields() -> list[JsonValue]:
    """Return the descriptions of all columns."""
    fields = [
        _field("sample_id", "sc:Integer", "Number of the sample in its plan."),
        _field("image", "sc:ImageObject", "The synthetic photograph.", transform={"jsonPath": "bytes"}),
    ]
    titles = {label.name: label.title for label in LABELS}
    for column, meaning, kind in (
        ("condition", "requested from the generator; null is not requested", "sc:Integer"),
        ("annotation", "predicted by the AI annotator; null is unknown", "sc:Integer"),
        ("probability", "calibrated probability of the AI annotator; null is unknown", "sc:Float"),
    ):
        for name in LABEL_NAMES:
            field = _field(f"{column}_{name}", kind, f"{titles[name]}: {meaning}.")
            if column == "probability" and name == "dr_grade":
                field["repeated"] = True
            fields.append(field)
    return [*fields, _field("seed", "sc:Integer", "Seed of the sample's noise.")]


def _field(name: str, kind: str, description: str, **source: JsonValue) -> JsonObject:
    return {
        "@type": "cr:Field",
        "@id": f"{RECORD_SET}/{name}",
        "name": name,
        "description": description,
        "dataType": kind,
        "source": {"fileSet": {"@id": FILE_SET}, "extract": {"column": name}, **source},
    }


def _responsible_ai(config: ReleaseConfig, metadata: ReleaseMetadata) -> JsonObject:
    """Return the fields of Croissant RAI that apply to a synthetic dataset."""
    origin = " ".join((config.data_statement, *chain_sentences(metadata.origin)))
    return {
        "rai:dataCollection": f"Every image was sampled from a conditional diffusion model. {origin}",
        "rai:dataCollectionType": ["Software Collection"],
        "rai:dataCollectionMissingData": "A null label is unknown or was not requested; it is never 0.",
        "rai:dataAnnotationProtocol": ["One AI annotator predicted all labels; no human has checked them."],
        "rai:machineAnnotationTools": [f"SynFundus annotator, SHA-256 {metadata.annotator_digest}"],
        "rai:annotationsPerItem": "1",
        "rai:dataBiases": [metadata.bias_statement],
        "rai:dataLimitations": list(LIMITATIONS),
        "rai:dataUseCases": list(INTENDED_USES),
        "rai:personalSensitiveInformation": [metadata.privacy_statement],
    }
