"""Runs the protocol on what lies below a root and writes `reports/<name>/`.

metrics.json     docs/evaluation.md
index.html       the private edition: may show real photographs
public.html      the edition that `publish` puts into a release
figures/*.svg    the figures by themselves
manifest.json    written last
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synfundus.diagnosis.annotator import Annotator
from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.digests import canonical_json
from synfundus.errors import WrongInputError
from synfundus.evaluation.config import EvaluationConfig
from synfundus.evaluation.image_sets import Extractors, Samples, read_photographs, read_synthetic
from synfundus.evaluation.inception import load_inception
from synfundus.evaluation.pictures import Pixels, Sheets
from synfundus.evaluation.protocol import NUM_CLOSEST, SPACES, evaluate
from synfundus.evaluation.report import ReportContent, render_report, report_figures
from synfundus.fundus.dataset import PreparedImages, decode_pixels
from synfundus.labels import FloatArray
from synfundus.measures.copies import Nearest
from synfundus.phantom.render import PhantomConfig, phantom_labels, phantom_record
from synfundus.samples.shards import read_shard
from synfundus.storage import Storage, read_manifest, read_trusted, write_manifest

METRICS, PRIVATE, PUBLIC = "metrics.json", "index.html", "public.html"
HELD_OUT = ("validation", "test")
PHANTOM_SEED = 20231130
"""Phantoms of the landmark are others than any study's."""


@dataclass(frozen=True)
class EvaluationTask:
    """What is evaluated, and what the report says beside the numbers."""

    storage: Storage
    data_folder: str
    """The filled dataset."""
    annotator_folder: str
    samples_folder: str
    report_folder: str
    config: EvaluationConfig
    quantile: float
    """Of held-out photographs' distances; nearer to a training image is too near."""
    digest: str
    """Of everything that the report depends on."""
    title: str
    study: Mapping[str, Any]
    """Resolved settings, for the report."""
    curves: Mapping[str, Sequence[tuple[int, float]]]
    """Title of a training: (step, loss) points."""
    provenance: Mapping[str, Any]
    real_photographs: bool
    """False where the study's own photographs are phantoms, so that phantoms are no landmark."""


def feature_spaces(annotator: Annotator, config: EvaluationConfig) -> tuple[Extractors, dict[str, str | None]]:
    """How to compute each space, and why one is not computed.

    Raises:
        WrongInputError: the named Inception file is missing or wrong.
    """
    extractors: dict[str, Any] = {}
    reasons: dict[str, str | None] = dict.fromkeys(SPACES)
    if annotator.scorer.sees_images:
        extractors["annotator"] = annotator.features
    else:
        reasons["annotator"] = "the annotator is a table of predictions, which has no features"
    if config.inception_weights is not None:
        extractors["inception"] = load_inception(config.inception_weights).features
    else:
        reasons["inception"] = "no weights are named (evaluation.inception_weights), so nothing was computed"
    return extractors, reasons


def run_evaluation(task: EvaluationTask) -> dict[str, Any]:
    """Measure, draw and write the report; returns the content of metrics.json.

    Raises:
        WrongInputError: an earlier stage has not finished, or the named Inception file is missing or wrong.
    """
    storage, config = task.storage, task.config
    annotator = load_annotator(storage, task.annotator_folder)
    extractors, reasons = feature_spaces(annotator, config)
    images = PreparedImages(storage, task.data_folder)
    real, synthetic = Sheets(), Sheets()
    reference = read_photographs(images, ("train",), extractors, config.max_images, config.seed, real)
    held_out = read_photographs(images, HELD_OUT, extractors, config.max_images, config.seed)
    samples = read_synthetic(storage, task.samples_folder, extractors, config.max_images, config.seed, synthetic)
    if not len(samples.sample_ids):
        raise WrongInputError(f"{task.samples_folder}: no sample was accepted, so there is nothing to evaluate")
    phantoms = _phantom_features(extractors, len(held_out.chosen), images.size_px) if task.real_photographs else None
    unusable = annotator.calibration.unusable
    metrics, near = evaluate(
        reference,
        held_out,
        samples,
        config,
        spaces=reasons,
        unusable=unusable,
        quantile=task.quantile,
        phantoms=phantoms,
    )
    content = ReportContent(
        title=task.title,
        study=task.study,
        metrics=metrics,
        annotator_metrics=_annotator_metrics(storage, task.annotator_folder),
        real_photographs=task.real_photographs,
        curves=task.curves,
        synthetic=synthetic.filled(),
        real=real.filled(),
        closest_pairs=_closest_pairs(task, images, samples, near) if near is not None else (),
        provenance={**task.provenance, "annotator": annotator.digest},
    )
    _write(task, metrics, content)
    return metrics


def _annotator_metrics(storage: Storage, folder: str) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads(read_trusted(storage, folder, METRICS, read_manifest(storage, folder)))
    return metrics


def _write(task: EvaluationTask, metrics: Mapping[str, Any], content: ReportContent) -> None:
    files = {
        METRICS: canonical_json(metrics),
        PRIVATE: render_report(content, "private").encode(),
        PUBLIC: render_report(content, "public").encode(),
        **{f"figures/{name}.svg": svg for name, svg in report_figures(content).items()},
    }
    written = [task.storage.write_once(f"{task.report_folder}/{name}", data) for name, data in files.items()]
    write_manifest(task.storage, task.report_folder, written, {"kind": "report", "digest": task.digest})


def _phantom_features(extractors: Extractors, num_images: int, size_px: int) -> dict[str, FloatArray]:
    """Features of so many phantoms that are a fundus, a batch at a time."""
    config = PhantomConfig(num_images=2 * num_images + 100, size_px=max(32, size_px), seed=PHANTOM_SEED)
    fundus = [i for i in range(config.num_images) if phantom_labels(config, i)[0]["is_fundus"] == 1][:num_images]
    parts: dict[str, list[FloatArray]] = {space: [] for space in extractors}
    for start in range(0, len(fundus), 64):
        images_BHWC = np.stack([phantom_record(config, i).image_HWC for i in fundus[start : start + 64]])
        for space, extract in extractors.items():
            parts[space].append(extract(images_BHWC))
    return {space: np.concatenate(found) for space, found in parts.items()}


def _closest_pairs(
    task: EvaluationTask, images: PreparedImages, samples: Samples, near: Nearest
) -> list[tuple[Pixels, Pixels, float]]:
    """(synthetic, nearest training image turned the same way, distance), nearest first."""
    order = np.argsort(near.distance, kind="stable")[:NUM_CLOSEST]
    real_BHWC = images.batch("train", near.index[order]).images_BHWC
    pictures = _sample_pictures(task, samples, order)
    return [
        (pictures[row], real_HWC[:, ::-1] if near.mirrored[row] else real_HWC, float(near.distance[row]))
        for row, real_HWC in zip(order.tolist(), real_BHWC, strict=True)
    ]


def _sample_pictures(task: EvaluationTask, samples: Samples, rows: NDArray[np.int64]) -> dict[int, Pixels]:
    """Pictures of these chosen samples, from their files."""
    found: dict[int, Pixels] = {}
    for file in sorted({samples.files[row] for row in rows}):
        table = read_shard(task.storage, task.samples_folder, file)
        place = {sample_id: n for n, sample_id in enumerate(table.column("sample_id").to_pylist())}
        for row in rows.tolist():
            if samples.files[row] == file:
                sample_id = int(samples.sample_ids[samples.chosen[row]])
                found[row] = decode_pixels(table.column("image")[place[sample_id]]["bytes"].as_py())
    return found
