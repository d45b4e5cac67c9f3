"""A release of the samples of `samples_example`, with example metrics, for tests of what publishing writes."""

from support.annotator_metrics_example import example_annotator_metrics
from support.metrics_example import example_metrics
from support.samples_example import FOLDER
from synfundus.digests import digest_of, sha256_hex
from synfundus.evaluation.privacy_gate import privacy_verdict
from synfundus.evaluation.privacy_page import render_privacy_page
from synfundus.measures.editions import Edition, edition_mark
from synfundus.measures.metrics import EvaluationMetrics, MeasuredPrivacy
from synfundus.samples.manifest import ReleaseInputs, ReleaseManifest, SamplesManifest
from synfundus.samples.publish import Evidence, publish
from synfundus.samples.release_config import ReleaseConfig
from synfundus.storage import Storage, manifest_digest, read_manifest

RELEASE = "releases/demo"


def copying_metrics() -> EvaluationMetrics:
    """Return metrics of a generator that copies: one accepted sample is near a training photograph."""
    metrics = example_metrics()
    assert isinstance(metrics.privacy, MeasuredPrivacy)
    privacy = metrics.privacy.model_copy(update={"num_below": 1})
    return metrics.model_copy(update={"privacy": privacy, "verdict": privacy_verdict(privacy, metrics.audit)})


def publish_example(
    storage: Storage,
    release: str,
    config: ReleaseConfig,
    edition: Edition = "public",
    metrics: EvaluationMetrics | None = None,
) -> ReleaseManifest:
    """Publish `samples/demo` below `release`; without `metrics`, those of an example that passes the privacy gate."""
    page = f"<html><head>{edition_mark(edition)}</head></html>"
    metrics = example_metrics() if metrics is None else metrics
    evidence = Evidence(metrics, example_annotator_metrics(), page, render_privacy_page(config.title, metrics))
    samples = read_manifest(storage, FOLDER, SamplesManifest)
    inputs = ReleaseInputs(
        config=config,
        samples_manifest_sha256=manifest_digest(samples),
        generator_digest=samples.generator_digest,
        annotator_digest=samples.annotator_digest,
        origin=samples.origin,
        metrics_sha256=sha256_hex(evidence.metrics.to_json()),
        annotator_metrics_sha256=sha256_hex(evidence.annotator_metrics.to_json()),
        report_sha256=sha256_hex(page.encode()),
        privacy_page_sha256=sha256_hex(evidence.privacy_html.encode()),
    )
    return publish(storage, FOLDER, release, inputs, evidence, digest_of(inputs.model_dump(mode="json")))
