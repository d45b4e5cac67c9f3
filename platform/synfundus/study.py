"""A study: one YAML file that says everything about data, models, samples, evaluation and storage.

A file states only what differs from its `recipe`, a named set of settings that ships with the package. Overrides of the
command line (`--set generator.num_steps=500`) come last.
"""

import difflib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import Field, ValidationError

from synfundus.config import Config
from synfundus.diagnosis.external import ExternalConfig
from synfundus.diagnosis.training import AnnotatorConfig
from synfundus.diffusion.training import GeneratorConfig
from synfundus.errors import WrongInputError
from synfundus.evaluation.protocol import EvaluationConfig
from synfundus.fundus.prepare_config import PrepareConfig
from synfundus.fundus.sources import SourceConfig
from synfundus.samples.plan import SamplesConfig
from synfundus.samples.release_config import ReleaseConfig
from synfundus.settings import Settings
from synfundus.storage import canonical_json, sha256_hex

SCHEMA_VERSION: Final = 1
REAL_DATA_VARIABLE = "${SYNFUNDUS_REAL_DATA}"


class DataConfig(Config):
    """Which real images there are, and how they are prepared."""

    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    """Where images and labels come from, one entry a layout."""
    prepare: PrepareConfig


class Study(Config):
    """All settings of one study, resolved."""

    version: Literal[1] = SCHEMA_VERSION
    """Schema of this file."""
    recipe: str | None = None
    """Named settings that this study starts from."""
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """Names every folder of the study below its root: lower-case letters, digits and hyphens."""
    root: str
    """Where everything is written: a folder or a file:// URI."""
    data: DataConfig
    annotator: AnnotatorConfig
    external_annotator: ExternalConfig | None = None
    """An annotator made elsewhere, in place of `annotator`."""
    generator: GeneratorConfig
    samples: SamplesConfig
    evaluation: EvaluationConfig
    release: ReleaseConfig

    @property
    def data_folder(self) -> str:
        return f"data/{self.name}"

    @property
    def filled_folder(self) -> str:
        """The dataset that `fill` writes; what the generator and the plan read."""
        return f"data/{self.name}-filled"

    @property
    def annotator_folder(self) -> str:
        return f"annotators/{self.name}"

    @property
    def generator_folder(self) -> str:
        return f"generators/{self.name}"

    @property
    def samples_folder(self) -> str:
        return f"samples/{self.name}"

    @property
    def release_folder(self) -> str:
        return f"releases/{self.name}"

    @property
    def report_folder(self) -> str:
        return f"reports/{self.name}"

    @cached_property
    def public(self) -> dict[str, Any]:
        """The resolved study without where data and root lie, for whatever is published or digested."""
        values = self.model_dump(mode="json", exclude={"root"})
        for source in values["data"]["sources"]:
            source.pop("path", None)
        return values


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-able value."""
    return sha256_hex(canonical_json(value))


def recipe_names() -> list[str]:
    """Recipes that ship with this package."""
    folder = resources.files("synfundus") / "recipes"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def read_recipe(name: str) -> str:
    """Text of a recipe.

    Raises:
        WrongInputError: no such recipe; names the nearest.
    """
    if name not in recipe_names():
        close = difflib.get_close_matches(name, recipe_names(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known recipes: {', '.join(recipe_names())}"
        raise WrongInputError(f"recipe: no recipe {name!r}; {hint}")
    return (resources.files("synfundus") / "recipes" / f"{name}.yaml").read_text()


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` on top: mappings are merged key by key, everything else is replaced."""
    out = dict(base)
    for key, value in over.items():
        mine = out.get(key)
        out[key] = merge(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return out


def _parse_yaml(text: str, where: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise WrongInputError(f"{where}{line}: not valid YAML ({getattr(error, 'problem', error)})") from error
    if not isinstance(values, dict):
        raise WrongInputError(f"{where}: expected settings (key: value lines), found {type(values).__name__}")
    return values


def parse_override(text: str) -> dict[str, Any]:
    """`a.b=c` as nested settings; the value is read as YAML."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise WrongInputError(f"--set {text}: expected KEY=VALUE, such as generator.num_steps=500")
    nested: Any = yaml.safe_load(value)
    for part in reversed(key.strip().split(".")):
        nested = {part: nested}
    out: dict[str, Any] = nested
    return out


def _expand_paths(values: dict[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """Source paths: the one variable that a study may use is put in, relative ones are relative to the study's file."""
    sources = values.get("data", {}).get("sources") if isinstance(values.get("data"), dict) else None
    if not isinstance(sources, list):
        return values
    expanded = []
    for number, source in enumerate(sources):
        path = source.get("path") if isinstance(source, dict) else None
        if not isinstance(path, str):
            expanded.append(source)
            continue
        if REAL_DATA_VARIABLE in path:
            real = Settings().real_data
            if real is None:
                raise WrongInputError(
                    f"{where}: data.sources.{number}.path uses {REAL_DATA_VARIABLE}, which is not set;"
                    " export SYNFUNDUS_REAL_DATA=<folder of the photographs>"
                )
            path = path.replace(REAL_DATA_VARIABLE, real)
        if "://" not in path:
            path = str((folder / Path(path).expanduser()).absolute())
        expanded.append({**source, "path": path})
    return merge(values, {"data": {"sources": expanded}})


def _one_line(error: ValidationError, where: str) -> str:
    """The first mistake of a study as one line: file, key, what is wrong."""
    first = error.errors(include_url=False)[0]
    steps = [str(step) for step in first["loc"]]
    key = ".".join(steps)
    message = first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    if first["type"] == "missing":
        message = "this key is required"
    elif first["type"] == "extra_forbidden":
        message = "unknown key"
    elif isinstance(given, str | int | float | bool):
        message = f"{message} (given: {given!r})"
    more = len(error.errors()) - 1
    rest = f"; {more} more" if more else ""
    return f"{where}: {key + ': ' if key else ''}{message}{rest}"


def resolve(text: str, where: str, folder: Path, overrides: Sequence[str] = ()) -> Study:
    """A study from the text of its file.

    Args:
        where: name of the file, for messages.
        folder: what relative paths are relative to.
        overrides: `a.b=c` settings on top.

    Raises:
        WrongInputError: one line with file, key and remedy.
    """
    values = _parse_yaml(text, where)
    version = values.get("version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise WrongInputError(
            f"{where}: version {version} is newer than this program reads ({SCHEMA_VERSION}); upgrade synfundus"
        )
    for override in overrides:
        values = merge(values, parse_override(override))
    if values.get("recipe") is not None:
        values = merge(_parse_yaml(read_recipe(str(values["recipe"])), f"recipe {values['recipe']}"), values)
    values = _expand_paths(values, folder, where)
    root = values.get("root")
    if isinstance(root, str) and "://" not in root:
        values["root"] = str((folder / Path(root).expanduser()).absolute())
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        raise WrongInputError(_one_line(error, where)) from error


def load_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """The study in a YAML file.

    Raises:
        WrongInputError: no such file, or a mistake in it.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise WrongInputError(f"cannot read study {path} ({reason}); `synfundus study init` writes one") from error
    return resolve(text, str(path), path.absolute().parent, overrides)


def show(study: Study) -> str:
    """The resolved study as YAML."""
    return yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
