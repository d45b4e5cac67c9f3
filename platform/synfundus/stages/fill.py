"""Stage `fill`: give unknown labels calibrated probabilities, in a new dataset beside the prepared one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.fundus.manifest import DataManifest, LabelSources
from synfundus.labels import LABEL_NAMES
from synfundus.progress import Progress, show_progress
from synfundus.resources import PoolResources
from synfundus.stages.record import Basis
from synfundus.stages.requirements import require_gpu
from synfundus.stages.stage import Rows, Stage
from synfundus.storage import Storage, manifest_digest, read_manifest
from synfundus.study import Study

if TYPE_CHECKING:
    from synfundus.diagnosis.fill import FilledShard


class Filler:
    """A worker of the pool: fills one shard after the other."""

    def __init__(
        self, storage: Storage, source_folder: str, target_folder: str, annotator_folder: str, resources: PoolResources
    ) -> None:
        """Load the annotator."""
        import torch

        from synfundus.diagnosis.checkpoint import load_annotator

        torch.set_num_threads(resources.num_threads)
        self.storage, self.source_folder, self.target_folder = storage, source_folder, target_folder
        self.annotator = load_annotator(storage, annotator_folder, "cuda" if resources.num_gpus else "cpu")

    def __call__(self, file: str) -> FilledShard:
        """Write the filled shard `file`."""
        from synfundus.diagnosis.fill import write_filled_shard

        return write_filled_shard(self.storage, self.source_folder, file, self.annotator, self.target_folder)


def fill_on_pool(
    storage: Storage,
    source_folder: str,
    annotator_folder: str,
    target_folder: str,
    resources: PoolResources,
    digest: str,
    progress: Progress,
) -> DataManifest:
    """Fill all shards of `source_folder` into `target_folder` on a pool of workers; return the new manifest.

    Args:
        digest: digest of everything that the new dataset depends on.
    """
    from synfundus.diagnosis.fill import close_filled
    from synfundus.distributed.map import run_on_pool

    files = read_manifest(storage, source_folder, DataManifest).shards
    arguments = (storage, source_folder, target_folder, annotator_folder, resources)
    shards: list[FilledShard] = []
    for shard in run_on_pool(Filler, arguments, files, resources):
        shards.append(shard)
        progress.update(len(shards))
    annotator = read_manifest(storage, annotator_folder, AnnotatorManifest)
    return close_filled(storage, source_folder, annotator.annotator_digest, target_folder, shards, digest)


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

    def inputs(self, study: Study) -> tuple[str, ...]:
        return (study.data_folder, study.annotator_folder)

    def output(self, study: Study) -> str:
        return study.filled_folder

    def basis(self, study: Study, storage: Storage) -> Basis:
        data = read_manifest(storage, study.data_folder, DataManifest)
        annotator = read_manifest(storage, study.annotator_folder, AnnotatorManifest)
        inputs: Basis = {"data": manifest_digest(data), "annotator": manifest_digest(annotator)}
        return {"fill": study.public["fill"], "inputs": inputs}

    def check(self, study: Study, storage: Storage) -> None:  # noqa: ARG002  resources of this machine only
        require_gpu("fill.resources", study.fill.resources)

    def describe(self, study: Study, storage: Storage, found: None) -> Rows:  # noqa: ARG002  nothing to look up
        return [
            ("read", f"{study.data_folder}, {study.annotator_folder}"),
            ("write", f"{study.filled_folder} below {storage.root}; experts' labels stay as they are"),
        ]

    def run(self, study: Study, storage: Storage, digest: str, found: None) -> None:  # noqa: ARG002  nothing found
        folders = (study.data_folder, study.annotator_folder, study.filled_folder)
        num_shards = len(read_manifest(storage, study.data_folder, DataManifest).shards)
        with show_progress(self.name, num_shards, "shards") as progress:
            fill_on_pool(storage, *folders, study.fill.resources, digest, progress)

    def summary(self, study: Study, storage: Storage) -> FillSummary:
        return FillSummary(read_manifest(storage, study.filled_folder, DataManifest).sources)

    def num_workers(self, study: Study) -> int:
        return study.fill.resources.pool_size
