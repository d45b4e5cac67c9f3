"""Stage `prepare`: originals in, prepared images in `data/<name>/` out. `prepare_passes` does the work over Ray."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from synfundus.environment import Environment
from synfundus.errors import WrongInputError
from synfundus.fundus.listing import listing_digest, merge_listings
from synfundus.fundus.listing_summary import NUM_EXAMPLES, warning_rows
from synfundus.fundus.manifest import CONTACT_SHEET, REJECTED, DataManifest
from synfundus.fundus.patients import patient_key
from synfundus.fundus.sources import SourceListing, list_source
from synfundus.fundus.sources.place import source_exists
from synfundus.fundus.splits import NO_JUDGE, SPLITS
from synfundus.progress import show_progress
from synfundus.stages.record import Basis, KeyNames
from synfundus.stages.requirements import require_gpu
from synfundus.stages.stage import Rows, Stage
from synfundus.storage import Storage, read_manifest, read_record
from synfundus.study import DataConfig, Study

if TYPE_CHECKING:
    from synfundus.fundus.rejection_report import SharedByPatients

PNG_BYTES_PER_PIXEL = 1.5
"""Size of a prepared fundus photograph; an estimate for `--dry-run` only."""

Listings = tuple[SourceListing, ...]
"""One listing per source of the study."""


@dataclass(frozen=True)
class PrepareSummary:
    """Numbers of accepted and rejected images."""

    manifest: DataManifest
    contact_sheet: str | None
    """URI of the contact sheet."""
    shared_images: tuple["SharedByPatients", ...] = ()
    """Images that more than two patient ids have."""

    def rows(self) -> Rows:
        manifest = self.manifest
        images, patients = manifest.num_images, manifest.num_patients
        shown = [split for split in SPLITS if split != "judge" or images.judge]
        splits = [f"{split} {getattr(images, split)} images of {getattr(patients, split)} patients" for split in shown]
        rejected = ", ".join(f"{n} {reason.words}" for reason, n in manifest.rejected.items() if n) or "none"
        rows = [("accepted", "; ".join(splits)), ("rejected", rejected)]
        if not images.judge:
            rows.append(("no judge", f"{NO_JUDGE}; the annotator judges the samples that it taught the generator"))
        if manifest.images_counted_as_patient:
            rows.append(("no patient id", f"{manifest.images_counted_as_patient} images count as a patient each"))
        if manifest.joined_patient_ids:
            why = "because both have one image, or photographs of one eye"
            joined = f"{manifest.joined_patient_ids} joined with another id, {why}; listed in {REJECTED}"
            rows.append(("patient ids", joined))
        rows += [("shared image", _shared(image)) for image in self.shared_images[:NUM_EXAMPLES]]
        if more := len(self.shared_images[NUM_EXAMPLES:]):
            rows.append(("shared images", f"{more} more; listed in {REJECTED}"))
        if manifest.rows_without_image or manifest.images_without_row:
            unmatched = (
                f"{manifest.rows_without_image} rows without image, {manifest.images_without_row} images without row"
            )
            matched = images.total + sum(manifest.rejected.values()) - manifest.images_without_row
            few = "fewer than half of the rows found an image; " if manifest.rows_without_image > matched else ""
            rows.append(("tables", f"{few}{unmatched}; listed in {REJECTED}"))
        if self.contact_sheet is not None:
            rows.append(("contact sheet", f"{self.contact_sheet} (private)"))
        return rows


class PrepareStage(Stage[Listings]):
    """Read, crop, check and split photographs."""

    name = "prepare"
    help = "Read, crop, check and split photographs; rejected ones are counted and shown."
    names_of_basis: ClassVar[KeyNames] = {key: f"data.{key}" for key in DataConfig.model_fields}

    def inputs(self, study: Study) -> tuple[str, ...]:  # noqa: ARG002  the sources lie outside the root
        return ()

    def output(self, study: Study) -> str:
        return study.data_folder

    def basis(self, study: Study, storage: Storage) -> Basis:  # noqa: ARG002  it has no inputs
        settings = study.public["data"]
        assert isinstance(settings, dict)
        return settings

    def check(self, study: Study, storage: Storage) -> Listings:
        """List every source.

        Raises:
            WrongInputError: a source cannot be listed or holds no image, the patient key is not usable, a GPU is
                missing, or a dataset that was prepared elsewhere is not complete.
        """
        if study.data.prepared is not None:
            raise WrongInputError(
                f"data.prepared: {study.data_folder} is not complete below {storage.root};"
                " copy it there, manifest.json last"
            )
        require_gpu("data.prepare.resources", study.data.prepare.resources)
        environment = Environment()
        if environment.has_patient_key:  # else `run` makes one; a check writes nothing
            patient_key(environment, study.root)
        listings = tuple(list_source(source) for source in study.data.sources)
        merge_listings(listings)
        return listings

    def describe(self, study: Study, storage: Storage, found: Listings | None) -> Rows:
        if not found:
            return []
        rows: Rows = []
        for source, listing in zip(study.data.sources, found, strict=True):
            patients = "split by patient" if listing.has_patients else "no patient column: each counts as a patient"
            rows.append((source.layout, f"{len(listing.records)} images, {patients}"))
            rows += warning_rows(listing)
        num_images = sum(len(listing.records) for listing in found)
        num_bytes = num_images * study.data.prepare.size_px**2 * PNG_BYTES_PER_PIXEL
        rows.append(("write", f"{study.data_folder} below {storage.root}, about {num_bytes / 2**20:.0f} MiB"))
        return rows

    def run(self, study: Study, storage: Storage, digest: str, found: Listings) -> None:
        from synfundus.stages.prepare_passes import prepare

        num_images = sum(len(listing.records) for listing in found)
        with show_progress(self.name, num_images, "images") as progress:
            prepare(storage, study.data_folder, found, study.data.prepare, Environment(), digest, progress)

    def is_made_elsewhere(self, study: Study) -> bool:
        return study.data.prepared is not None

    def compare_sources(self, study: Study, storage: Storage) -> Rows:
        """Compare a complete dataset with its originals, if they can still be listed.

        Photographs may be taken off the machine once they are prepared, and rights to them withdrawn.

        Raises:
            WrongInputError: the dataset was prepared from other images or labels.
        """
        if study.data.prepared is not None:
            return []
        if unreachable := _unreachable(study):
            return [("originals", f"{unreachable}; the prepared images are used as they are")]
        listing = merge_listings([list_source(source) for source in study.data.sources])
        if read_manifest(storage, study.data_folder, DataManifest).images_digest != listing_digest(listing.records):
            raise WrongInputError(
                f"{study.data_folder} below {storage.root} was prepared from other images or labels;"
                " give the study another name or root"
            )
        return []

    def summary(self, study: Study, storage: Storage) -> PrepareSummary:
        manifest = read_manifest(storage, study.data_folder, DataManifest)
        has_sheet = CONTACT_SHEET in manifest.files
        sheet = storage.uri(f"{study.data_folder}/{CONTACT_SHEET}") if has_sheet else None
        shared: tuple[SharedByPatients, ...] = ()
        if manifest.shared_images:
            from synfundus.fundus.rejection_report import RejectionReport

            shared = read_record(storage, study.data_folder, REJECTED, manifest, RejectionReport).shared_images
        return PrepareSummary(manifest, sheet, shared)


def _shared(image: "SharedByPatients") -> str:
    remedy = "label it is_fundus 0, or give its patients one id if it shows an eye"
    return f"one image belongs to {image.num_patients} patients: {image.name}; {remedy}"


def _unreachable(study: Study) -> str:
    """Return why sources of the study can no longer be listed; empty if all can."""
    reasons = []
    for source in study.data.sources:
        if source.layout == "phantom":
            continue
        try:
            if not source_exists(source.path):
                reasons.append(f"no longer at {source.path}")
        except WrongInputError as error:
            reasons.append(str(error))
    return "; ".join(reasons)
