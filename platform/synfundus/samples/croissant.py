"""`croissant.json`: the release as Croissant 1.0 JSON-LD (docs.mlcommons.org/croissant), with its RAI fields.

Readers of Croissant load the samples from it, and check each Parquet file by its SHA-256.
"""

import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from synfundus.digests import canonical_json
from synfundus.labels import LABEL_NAMES, LABELS
from synfundus.measures.wording import RESEARCH_ONLY
from synfundus.samples.config import ReleaseConfig
from synfundus.samples.release_facts import ReleaseFacts
from synfundus.storage import Written

RECORD_SET, FILE_SET = "samples", "parquet-files"
PARQUET = "application/x-parquet"


def croissant(config: ReleaseConfig, facts: ReleaseFacts, files: Sequence[Written], release_folder: str) -> bytes:
    """The description of a release whose Parquet files of `data/` are `files`."""
    context = resources.files("synfundus.samples") / "templates" / "croissant_context.json"
    document: dict[str, Any] = {
        "@context": json.loads(context.read_text()),
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": config.title,
        "description": f"{facts.num_accepted} synthetic fundus photographs with what was asked of the generator and"
        f" what an AI annotator saw. {RESEARCH_ONLY}",
        "license": licence_address(config.licence),
        "version": config.version,
        "citeAs": citation(config),
        "creator": [{"@type": "sc:Organization", "name": name} for name in config.authors],
        "keywords": ["fundus photography", "synthetic data", "ophthalmology", "diffusion model"],
        "distribution": [*(_file(item, release_folder) for item in files), _file_set()],
        "recordSet": [{"@type": "cr:RecordSet", "@id": RECORD_SET, "name": RECORD_SET, "field": _fields()}],
        **_responsible_ai(config, facts),
    }
    if config.homepage:
        document["url"] = config.homepage
    if config.date_published:
        document["datePublished"] = config.date_published.isoformat()
    return canonical_json(document)


def licence_address(licence: str) -> str:
    """A page about an SPDX licence; another licence keeps its name."""
    spdx = " " not in licence and "/" not in licence
    return f"https://spdx.org/licenses/{licence}.html" if spdx else licence


def citation(config: ReleaseConfig) -> str:
    """One line to cite."""
    year = f" ({config.date_published.year})" if config.date_published else ""
    return f"{', '.join(config.authors) or 'Anonymous'}{year}. {config.title}, version {config.version}."


def _file(item: Written, release_folder: str) -> dict[str, Any]:
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


def _file_set() -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": FILE_SET,
        "name": FILE_SET,
        "encodingFormat": PARQUET,
        "includes": "data/*.parquet",
    }


def _fields() -> list[dict[str, Any]]:
    fields = [
        _field("sample_id", "sc:Integer", "Number of the sample in its plan."),
        _field("image", "sc:ImageObject", "The synthetic photograph.", transform={"jsonPath": "bytes"}),
    ]
    titles = {label.name: label.title for label in LABELS}
    for part, meaning, kind in (
        ("condition", "what was asked of the generator", "sc:Integer"),
        ("annotation", "what the AI annotator saw", "sc:Integer"),
        ("probability", "the AI annotator's calibrated probability", "sc:Float"),
    ):
        for name in LABEL_NAMES:
            field = _field(f"{part}_{name}", kind, f"{titles[name]}: {meaning}; null is unknown.")
            if part == "probability" and name == "dr_grade":
                field["repeated"] = True
            fields.append(field)
    return [*fields, _field("seed", "sc:Integer", "Seed of the sample's noise.")]


def _field(name: str, kind: str, description: str, **source: Any) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{RECORD_SET}/{name}",
        "name": name,
        "description": description,
        "dataType": kind,
        "source": {"fileSet": {"@id": FILE_SET}, "extract": {"column": name}, **source},
    }


def _responsible_ai(config: ReleaseConfig, facts: ReleaseFacts) -> dict[str, Any]:
    """The fields of Croissant RAI that a synthetic dataset can answer."""
    return {
        "rai:dataCollection": f"Every image was drawn by a conditional diffusion model. {config.data_statement}",
        "rai:dataCollectionType": ["Software Collection"],
        "rai:dataCollectionMissingData": "A null label is unknown, or was not asked for; it is never 0.",
        "rai:dataAnnotationProtocol": ["One AI annotator; no human has looked at the labels of the samples."],
        "rai:machineAnnotationTools": [f"SynFundus annotator, SHA-256 {facts.annotator}"],
        "rai:annotationsPerItem": "1",
        "rai:dataBiases": [facts.bias_statement],
        "rai:dataLimitations": facts.limitations,
        "rai:dataUseCases": facts.intended_uses,
        "rai:personalSensitiveInformation": [facts.privacy_statement],
    }
