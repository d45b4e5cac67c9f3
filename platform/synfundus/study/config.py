"""Settings of a whole study, and the names that follow from them."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, cast

from pydantic import Field, JsonValue, model_validator
from pydantic.main import IncEx

from synfundus.config import NAME_PATTERN, Config
from synfundus.copies.config import CopyDetectorConfig
from synfundus.diagnosis.config import AnnotatorConfig, ExternalConfig, FillConfig, OperatingPointsConfig
from synfundus.diffusion.config import GeneratorConfig
from synfundus.digests import content_digest
from synfundus.evaluation.config import EvaluationConfig
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.sources import SourceConfig
from synfundus.samples.config import SamplesConfig
from synfundus.samples.release_config import ReleaseConfig
from synfundus.serving import ServingConfig
from synfundus.study.files import map_files, named_files
from synfundus.study.tree import Tree
from synfundus.transfer.config import TransferConfig

SCHEMA_VERSION: Final = 1
_NO_INFLUENCE: Final[Mapping[str, IncEx | bool]] = {
    "root": True,
    "data": {"sources": {"__all__": {"path": True}}, "prepare": {"resources": True}},
    "fill": {"resources": {"pool_size": True, "num_gpus": True}},
    "samples": {"resources": {"pool_size": True, "num_gpus": True}},
    "transfer": {"resources": {"pool_size": True, "num_gpus": True}},
    "evaluation": {"resources": True},
    "serving": True,
}
"""Settings that change no result: they enter no digest."""


class DataConfig(Config):
    """Real images: where they lie, and how they are prepared."""

    sources: tuple[SourceConfig, ...] = ()
    """Sources of photographs and labels, one entry per source."""
    prepared: str | None = Field(default=None, pattern=NAME_PATTERN)
    """In place of `sources`: the name of a dataset that `prepare` wrote on another machine and that was copied to
    `data/<name>/` below the root. The originals never leave that machine."""
    prepare: PrepareConfig
    """Preparation of the sources."""

    @model_validator(mode="after")
    def _one_origin(self) -> "DataConfig":
        if bool(self.sources) == (self.prepared is not None):
            raise ValueError("expected either sources, or prepared (the name of a dataset below the root)")
        return self


class Study(Config):
    """All settings of one study, resolved."""

    version: Literal[1] = SCHEMA_VERSION
    """Schema of this file."""
    recipe: str | None = None
    """Recipe that this study starts from."""
    name: str = Field(pattern=NAME_PATTERN)
    """Name of every folder of the study below its root: lower-case letters, digits and hyphens."""
    root: str
    """Place of everything that the study writes: a folder, a file:// URI or s3://bucket/prefix."""
    data: DataConfig
    """Real images: where they lie, and how they are prepared."""
    annotator: AnnotatorConfig
    """Training of the annotator."""
    external_annotator: ExternalConfig | None = None
    """An annotator made elsewhere, in place of `annotator`."""
    operating_points: OperatingPointsConfig = Field(default_factory=dict)
    """Rule by label that turns the annotator's probability into a value. The stages that annotate read it; to change it
    needs no training."""
    fill: FillConfig = FillConfig()
    """Filling of unknown labels by the annotator."""
    copy_detector: CopyDetectorConfig = CopyDetectorConfig()
    """Training of the encoder that finds altered copies of training photographs, and its threshold."""
    generator: GeneratorConfig
    """Training of the generator."""
    samples: SamplesConfig
    """Samples: their number, conditions and solver."""
    transfer: TransferConfig | None = None
    """Networks trained with and without the samples, and tested on photographs. Without this section the stage
    `transfer` is skipped."""
    evaluation: EvaluationConfig
    """Evaluation of the samples against real photographs."""
    release: ReleaseConfig
    """Release of the accepted samples, and what its authors state about it."""
    serving: ServingConfig = ServingConfig()
    """Endpoints that serve the generator and the annotator."""

    @property
    def has_real_photographs(self) -> bool:
        """False if all images are phantoms. A dataset prepared elsewhere counts as real, as its sources are unknown."""
        return self.data.prepared is not None or any(source.layout != "phantom" for source in self.data.sources)

    @property
    def data_folder(self) -> str:
        """Folder of the prepared images."""
        return f"data/{self.data.prepared or self.name}"

    @property
    def filled_folder(self) -> str:
        """Folder of the prepared images with filled labels, which the generator trains on."""
        return f"data/{self.name}-filled"

    @property
    def annotator_folder(self) -> str:
        """Folder of the annotator."""
        return f"annotators/{self.name}"

    @property
    def judge_folder(self) -> str:
        """Folder of the judge."""
        return f"judges/{self.name}"

    @property
    def copy_detector_folder(self) -> str:
        """Folder of the copy detector."""
        return f"copy_detectors/{self.name}"

    @property
    def generator_folder(self) -> str:
        """Folder of the generator."""
        return f"generators/{self.name}"

    @property
    def samples_folder(self) -> str:
        """Folder of the samples."""
        return f"samples/{self.name}"

    @property
    def transfer_folder(self) -> str:
        """Folder of the results of `transfer`."""
        return f"transfers/{self.name}"

    @property
    def release_folder(self) -> str:
        """Folder of the release."""
        return f"releases/{self.name}"

    @property
    def report_folder(self) -> str:
        """Folder of the report."""
        return f"reports/{self.name}"

    @cached_property
    def public(self) -> dict[str, JsonValue]:
        """All settings that a result depends on, as JSON: digests are computed from it.

        It holds no folder, no GPU and no pool size; of a file only the name, because `files_of` adds the content.
        """
        values = self.model_dump(mode="json", exclude=_NO_INFLUENCE)
        return _as_json(map_files(values, lambda path, _: Path(path).name))

    @cached_property
    def shown(self) -> dict[str, JsonValue]:
        """Settings that a report shows: `public` without any name that a person gave to a file, folder or column.

        The section `release` is missing: its statements stand on the card, and may be corrected after the report.
        """
        values = _as_json(map_files(cast("Tree", self.public), lambda _path, _place: "a file of the authors"))
        del values["release"]
        sources = [source.model_dump(mode="json", exclude={"path"}) for source in self.data.sources]
        data = values["data"]
        assert isinstance(data, dict)
        shown: list[JsonValue] = [s if s["layout"] == "phantom" else {"layout": s["layout"]} for s in sources]
        return {**values, "data": {**data, "sources": shown}}

    def paths_of(self, section: str) -> dict[str, str]:
        """Return the path of each file that a section names, by its place in the section, such as `init_from`."""
        named = named_files({section: self.model_dump(mode="json")[section]})
        return {place.removeprefix(f"{section}."): path for place, path in named.items()}

    def files_of(self, section: str) -> dict[str, str]:
        """Return the digest of each file that a section names, by its place in the section.

        `images_folder` has none: it only shows which image a row of `predictions` describes.

        Raises:
            WrongInputError: a file cannot be read.
        """
        paths = {place: path for place, path in self.paths_of(section).items() if place != "images_folder"}
        return {place: content_digest(Path(path), f"{section}.{place}") for place, path in paths.items()}


def _as_json(values: Tree) -> dict[str, JsonValue]:
    """Return settings that came out of `model_dump(mode="json")`, under the type of JSON."""
    return cast("dict[str, JsonValue]", values)
