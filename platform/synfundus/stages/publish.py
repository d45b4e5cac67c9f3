"""Stage `publish`: make a release of the accepted samples: data, card, Croissant file, public report."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synfundus.copies.manifest import CopyDetectorManifest
from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.errors import WrongInputError
from synfundus.evaluation.manifest import PRIVACY_PAGE, PUBLIC, ReportManifest, read_metrics
from synfundus.samples.manifest import ReleaseInputs, ReleaseManifest, SamplesManifest
from synfundus.samples.release_config import ReleaseConfig
from synfundus.stages.record import Basis
from synfundus.stages.stage import Rows, Stage
from synfundus.storage import METRICS, Storage, manifest_digest, read_manifest, read_trusted
from synfundus.study import Study

if TYPE_CHECKING:  # imports pyarrow
    from synfundus.samples.publish import Evidence


@dataclass(frozen=True)
class PublishSummary:
    """Counts and place of a finished release."""

    manifest: ReleaseManifest
    uri: str
    """Place of the release."""

    def rows(self) -> Rows:
        summary, missing = self.manifest.summary, self.manifest.inputs.config.missing_in_croissant
        rows = [
            ("samples", f"{summary.num_accepted} (not released: {summary.num_unresolved} without an accepted attempt)"),
            ("files", f"{summary.num_files}, {summary.size_bytes / 2**20:.1f} MiB"),
        ]
        if missing:
            rows.append(("not in croissant.json", f"{', '.join(missing)}; Croissant requires them"))
        return [*rows, ("release", self.uri)]


class PublishStage(Stage[None]):
    """Release of the study's accepted samples."""

    name = "publish"
    help = "Make a release of the accepted samples: data, dataset card, Croissant file, public report."

    def inputs(self, study: Study) -> tuple[str, ...]:
        return study.samples_folder, study.report_folder, study.annotator_folder, study.copy_detector_folder

    def output(self, study: Study) -> str:
        return study.release_folder

    def basis(self, study: Study, storage: Storage) -> Basis:
        inputs = _read_inputs(study, storage).model_dump(mode="json", exclude={"config"})
        return {"release": study.public["release"], "inputs": inputs}

    def check(self, study: Study, storage: Storage) -> None:
        """Refuse nothing: every setting of a release was checked when the study was read."""

    def describe(self, study: Study, storage: Storage, found: None) -> Rows:  # noqa: ARG002  nothing was found
        require_evaluated(storage, study.samples_folder, study.report_folder, study.copy_detector_folder)
        manifest = read_manifest(storage, study.samples_folder, SamplesManifest)
        num_bytes = sum(manifest.files[name].size_bytes for name in manifest.shards)
        copies = 2 if study.release.synfundus_export else 1
        reasons = read_metrics(storage, study.report_folder).verdict.reasons
        override = "; overridden by release.privacy_override" if study.release.privacy_override else ""
        return [
            ("privacy gate", f"failed: {'; '.join(reasons)}{override}" if reasons else "passed"),
            ("release", f"{study.release.title}, version {study.release.version}, {study.release.licence}"),
            ("samples", str(manifest.summary.num_accepted)),
            ("write", f"{study.release_folder} below {storage.root}, about {copies * num_bytes / 2**20:.1f} MiB"),
        ]

    def run(self, study: Study, storage: Storage, digest: str, found: None) -> None:  # noqa: ARG002  nothing was found
        from synfundus.samples.publish import publish

        evidence = read_evidence(
            storage, study.samples_folder, study.report_folder, study.annotator_folder, study.copy_detector_folder
        )
        inputs = _read_inputs(study, storage)
        publish(storage, study.samples_folder, study.release_folder, inputs, evidence, digest)

    def summary(self, study: Study, storage: Storage) -> PublishSummary:
        manifest = read_manifest(storage, study.release_folder, ReleaseManifest)
        return PublishSummary(manifest, storage.uri(study.release_folder))

    def num_workers(self, study: Study) -> int:  # noqa: ARG002  runs in this process
        return 0


def _read_inputs(study: Study, storage: Storage) -> ReleaseInputs:
    return read_release_inputs(
        storage, study.release, study.samples_folder, study.report_folder, study.annotator_folder
    )


def read_release_inputs(
    storage: Storage, config: ReleaseConfig, samples_folder: str, report_folder: str, annotator_folder: str
) -> ReleaseInputs:
    """Return everything that a release depends on, from its settings and the manifests of the inputs.

    Raises:
        WrongInputError: an input is not complete.
    """
    samples = read_manifest(storage, samples_folder, SamplesManifest)
    report = read_manifest(storage, report_folder, ReportManifest)
    annotator = read_manifest(storage, annotator_folder, AnnotatorManifest)
    return ReleaseInputs(
        config=config,
        samples_manifest_sha256=manifest_digest(samples),
        generator_digest=samples.generator_digest,
        annotator_digest=samples.annotator_digest,
        origin=samples.origin,
        metrics_sha256=report.sha256(METRICS),
        annotator_metrics_sha256=annotator.sha256(METRICS),
        report_sha256=report.sha256(PUBLIC),
        privacy_page_sha256=report.sha256(PRIVACY_PAGE),
    )


def require_evaluated(storage: Storage, samples_folder: str, report_folder: str, copy_detector_folder: str) -> None:
    """Refuse a report of other samples, for example of samples that were made anew after the evaluation.

    Raises:
        WrongInputError: an input is not complete, or the report evaluated other samples, a generator that did not make
            them, or another copy detector.
    """
    samples = read_manifest(storage, samples_folder, SamplesManifest)
    report = read_manifest(storage, report_folder, ReportManifest)
    detector = read_manifest(storage, copy_detector_folder, CopyDetectorManifest)
    remedy = f"delete {report_folder} below {storage.root} and run `evaluate` again"
    if report.samples_manifest_sha256 != manifest_digest(samples):
        raise WrongInputError(f"{report_folder}: evaluated other samples than those of {samples_folder}; {remedy}")
    if report.generator_digest != samples.generator_digest:
        raise WrongInputError(
            f"{report_folder}: evaluated another generator than the one that made {samples_folder}; restore that one,"
            f" then {remedy}"
        )
    if report.copy_detector_digest != detector.detector_digest:
        raise WrongInputError(f"{report_folder}: evaluated another copy detector than {copy_detector_folder}; {remedy}")


def read_evidence(
    storage: Storage, samples_folder: str, report_folder: str, annotator_folder: str, copy_detector_folder: str
) -> "Evidence":
    """Return the results that a release shows; those of the annotator at the operating points of the samples.

    Raises:
        WrongInputError: an input is not complete, the annotator is not that of the samples, or the report is not one of
            these samples.
        StorageError: a file differs from its manifest.
    """
    from synfundus.diagnosis.decisions import read_annotator_metrics
    from synfundus.samples.plan import read_plan
    from synfundus.samples.publish import Evidence

    samples = read_manifest(storage, samples_folder, SamplesManifest)
    if read_manifest(storage, annotator_folder, AnnotatorManifest).annotator_digest != samples.annotator_digest:
        raise WrongInputError(
            f"{annotator_folder}: not the annotator that annotated {samples_folder}; restore that one, or delete"
            f" {samples_folder} and {report_folder} and run the study again"
        )
    require_evaluated(storage, samples_folder, report_folder, copy_detector_folder)
    plan = read_plan(storage, samples_folder, samples)
    report = read_manifest(storage, report_folder, ReportManifest)
    return Evidence(
        read_metrics(storage, report_folder),
        read_annotator_metrics(storage, annotator_folder, plan.operating_points),
        read_trusted(storage, report_folder, PUBLIC, report).decode(),
        read_trusted(storage, report_folder, PRIVACY_PAGE, report).decode(),
    )
