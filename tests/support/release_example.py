"""A release of the samples of `samples_example`, with example metrics, for tests of what publishing writes."""

from support.metrics_example import example_annotator_metrics, example_metrics
from support.samples_example import FOLDER
from synfundus.digests import digest_of, sha256_hex
from synfundus.measures.editions import Edition, edition_mark
from synfundus.samples.manifest import ReleaseInputs, ReleaseManifest, SamplesManifest
from synfundus.samples.publish import Evidence, publish
from synfundus.samples.release_config import ReleaseConfig
from synfundus.storage import Storage, manifest_digest, read_manifest

RELEASE = "releases/demo"


def publish_example(
    storage: Storage, release: str, config: ReleaseConfig, edition: Edition = "public"
) -> ReleaseManifest:
    """Publish `samples/demo` below `release`."""
    page = f"<html><head>{edition_mark(edition)}</head></html>"
    evidence = Evidence(example_metrics(), example_annotator_metrics(), page)
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
    )
    return publish(storage, FOLDER, release, inputs, evidence, digest_of(inputs.model_dump(mode="json")))
