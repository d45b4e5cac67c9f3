"""Stage `fill`: give unknown labels calibrated probabilities, in a new dataset beside the prepared one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.fundus.manifest import DataManifest, LabelSources
from synfundus.labels import LABEL_NAMES
from synfundus.progress import show_progress
from synfundus.stages.record import Basis, KeyNames
from synfundus.stages.requirements import require_gpu
from synfundus.stages.stage import Rows, Stage
from synfundus.storage import Storage, manifest_digest, read_manifest
from synfundus.study import Study


@dataclass(frozen=True)
class FillSummary:
    """Number of filled values of each label."""

    sources: Mapping[str, LabelSources]

    def rows(self) -> Rows:
        """Return the summary as lines for the user's screen."""
        filled = [f"{name} {self.sources[name].filled}" for name in LABEL_NAMES if self.sources[name].filled]
        return [("filled", ", ".join(filled) or "nothing: no head is usable, or every label is known")]


class FillStage(Stage[None]):
    """Fill unknown labels."""

    name = "fill"
    help = "Give unknown labels calibrated probabilities, in a new dataset beside the prepared one."
    names_of_basis: ClassVar[KeyNames] = {"is_fundus": "operating_points.is_fundus"}

    def inputs(self, study: Study) -> tuple[str, ...]:
        return (study.data_folder, study.annotator_folder)

    def output(self, study: Study) -> str:
        return study.filled_folder

    def basis(self, study: Study, storage: Storage) -> Basis:
        data = read_manifest(storage, study.data_folder, DataManifest)
        annotator = read_manifest(storage, study.annotator_folder, AnnotatorManifest)
        inputs: Basis = {"data": manifest_digest(data), "annotator": manifest_digest(annotator)}
        # The one annotation that filling uses: whether an image is a fundus.
        point = study.operating_points.get("is_fundus")
        is_fundus = None if point is None else point.model_dump(mode="json")
        return {"fill": study.public["fill"], "is_fundus": is_fundus, "inputs": inputs}

    def check(self, study: Study, storage: Storage) -> None:  # noqa: ARG002  resources of this machine only
        require_gpu("fill.resources", study.fill.resources)

    def describe(self, study: Study, storage: Storage, found: None) -> Rows:  # noqa: ARG002  nothing to look up
        return [
            ("read", f"{study.data_folder}, {study.annotator_folder}"),
            ("write", f"{study.filled_folder} below {storage.root}; experts' labels stay as they are"),
        ]

    def run(self, study: Study, storage: Storage, digest: str, found: None) -> None:  # noqa: ARG002  nothing found
        from synfundus.stages.fill_pool import fill_on_pool

        folders = (study.data_folder, study.annotator_folder, study.filled_folder)
        num_shards = len(read_manifest(storage, study.data_folder, DataManifest).shards)
        with show_progress(self.name, num_shards, "shards") as progress:
            fill_on_pool(storage, *folders, study.operating_points, study.fill.resources, digest, progress)

    def summary(self, study: Study, storage: Storage) -> FillSummary:
        return FillSummary(read_manifest(storage, study.filled_folder, DataManifest).sources)

    def num_workers(self, study: Study) -> int:
        return study.fill.resources.pool_size
