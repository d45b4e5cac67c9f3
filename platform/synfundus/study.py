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
from pydantic import Field, ValidationError, model_validator

from synfundus.config import Config
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.external_config import ExternalConfig
from synfundus.diffusion.config import GeneratorConfig
from synfundus.digests import content_digest
from synfundus.environment import Environment
from synfundus.errors import WrongInputError
from synfundus.evaluation.config import EvaluationConfig
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.sources import SourceConfig
from synfundus.samples.config import ReleaseConfig
from synfundus.samples.plan import SamplesConfig

SCHEMA_VERSION: Final = 1
NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9-]{0,62}$"
REAL_DATA_VARIABLE = "${SYNFUNDUS_REAL_DATA}"
FILE_KEYS: Final = (
    ("annotator", "init_from"),
    ("external_annotator", "predictions"),
    ("external_annotator", "images_folder"),
    ("external_annotator", "weights"),
    ("generator", "init_from"),
    ("evaluation", "inception_weights"),
)
"""Environment that name a file or folder of this machine, beside the paths of the sources."""


class DataConfig(Config):
    """Which real images there are, and how they are prepared."""

    sources: tuple[SourceConfig, ...] = ()
    """Where images and labels come from, one entry a layout."""
    prepared: str | None = Field(default=None, pattern=NAME_PATTERN)
    """In place of `sources`: name of a dataset that `prepare` made elsewhere and that lies below the root already, as
    `data/<name>/`. So photographs are prepared where they may lie, and nothing but the prepared ones leaves."""
    prepare: PrepareConfig

    @model_validator(mode="after")
    def _one_origin(self) -> "DataConfig":
        if bool(self.sources) == (self.prepared is not None):
            raise ValueError("name either sources, or as prepared a dataset that lies below the root")
        return self


class Study(Config):
    """All settings of one study, resolved."""

    version: Literal[1] = SCHEMA_VERSION
    """Schema of this file."""
    recipe: str | None = None
    """Named settings that this study starts from."""
    name: str = Field(pattern=NAME_PATTERN)
    """Names every folder of the study below its root: lower-case letters, digits and hyphens."""
    root: str
    """Where everything is written: a folder, a file:// URI or s3://bucket/prefix."""
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
        return f"data/{self.data.prepared or self.name}"

    @property
    def has_real_photographs(self) -> bool:
        """False where all photographs are phantoms; of a dataset that was prepared elsewhere nothing is known."""
        return self.data.prepared is not None or any(source.layout != "phantom" for source in self.data.sources)

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
        """The resolved study without where anything lies and without the pool, for what is digested."""
        values = self.model_dump(mode="json", exclude={"root": True, "samples": {"pool_size", "use_gpu"}})
        for source in values["data"]["sources"]:
            source.pop("path", None)
        for section, key in FILE_KEYS:
            if (values[section] or {}).get(key) is not None:
                values[section][key] = Path(values[section][key]).name
        return values

    @cached_property
    def shown(self) -> dict[str, Any]:
        """What a report shows of the study: `public` without any name that a person gave to a file, folder or column.

        The release's own statements stand on its card, and may be mended after the report.
        """
        values = {key: value for key, value in self.public.items() if key != "release"}
        sources = [s if s["layout"] == "phantom" else {"layout": s["layout"]} for s in values["data"]["sources"]]
        values["data"] = {**values["data"], "sources": sources}
        for section, key in FILE_KEYS:
            if (values[section] or {}).get(key) is not None:
                values[section] = {**values[section], key: "a file of the makers"}
        return values

    def files_of(self, section: str) -> dict[str, str]:
        """Digests of the content of the files that a section names, by key; where they lie does not enter them.

        Raises:
            WrongInputError: there is no such file.
        """
        values = getattr(self, section)
        named = {key: getattr(values, key, None) for name, key in FILE_KEYS if name == section}
        return {
            key: content_digest(Path(path), f"{section}.{key}")
            for key, path in named.items()
            if path is not None and key != "images_folder"
        }


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
    return (resources.files("synfundus") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` on top: mappings are merged key by key, everything else is replaced."""
    out = dict(base)
    for key, value in over.items():
        mine = out.get(key)
        out[key] = merge(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return out


class _OneKeyOnce(yaml.SafeLoader):
    """YAML in which a key that stands twice is a mistake; by default the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = (key_node.tag, key_node.value) if isinstance(key_node, yaml.ScalarNode) else id(key_node)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key_node.value!r} twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str, where: str) -> dict[str, Any]:
    try:
        values = yaml.load(text, _OneKeyOnce)  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise WrongInputError(f"{where}{line}: not valid YAML ({getattr(error, 'problem', error)})") from error
    if not isinstance(values, dict):
        raise WrongInputError(f"{where}: expected settings (key: value lines), found {type(values).__name__}")
    return values


def parse_override(text: str) -> tuple[list[str], Any]:
    """Path and value of `a.b=c`; the value is read as YAML.

    Raises:
        WrongInputError: it is no such thing.
    """
    key, sign, value = text.partition("=")
    path = key.strip().split(".")
    if not sign or not all(path):
        raise WrongInputError(f"--set {text}: expected KEY=VALUE, such as generator.num_steps=500")
    try:
        return path, yaml.safe_load(value)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or error
        raise WrongInputError(f"--set {text}: the value is not valid YAML ({problem}); quote it") from error


def _put(values: Any, path: Sequence[str], value: Any, override: str) -> Any:
    """`values` with one setting replaced; a number is a place in a list."""
    if not path:
        return merge(values, value) if isinstance(values, Mapping) and isinstance(value, Mapping) else value
    step, rest = path[0], path[1:]
    if isinstance(values, list):
        if not step.isdecimal() or int(step) >= len(values):
            places = f"places 0 to {len(values) - 1}" if values else "no places"
            raise WrongInputError(f"--set {override}: {step!r} is no place in a list that has {places}")
        return [_put(item, rest, value, override) if n == int(step) else item for n, item in enumerate(values)]
    inner = dict(values) if isinstance(values, Mapping) else {}
    inner[step] = _put(inner.get(step), rest, value, override)
    return inner


def _expand_paths(values: dict[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """Paths of files: the one variable that a study may use is put in, relative ones are relative to its file."""
    out = dict(values)
    data = out.get("data")
    sources = data.get("sources") if isinstance(data, dict) else None
    if isinstance(data, dict) and isinstance(sources, list):
        expanded = [
            {**source, "path": _absolute(source["path"], folder, where, f"data.sources.{number}.path")}
            if isinstance(source, dict) and isinstance(source.get("path"), str)
            else source
            for number, source in enumerate(sources)
        ]
        out["data"] = {**data, "sources": expanded}
    for section, key in FILE_KEYS:
        inner = out.get(section)
        if isinstance(inner, dict) and isinstance(inner.get(key), str):
            path = _absolute(inner[key], folder, where, f"{section}.{key}")
            if "://" in path:
                raise WrongInputError(
                    f"{where}: {section}.{key}: {path} is not on this machine; copy it here and name the copy"
                )
            out[section] = {**inner, key: path}
    if isinstance(out.get("root"), str):
        out["root"] = _absolute(out["root"], folder, where, "root")
    return out


def _absolute(path: str, folder: Path, where: str, key: str) -> str:
    if REAL_DATA_VARIABLE in path:
        real = Environment().real_data
        if real is None:
            raise WrongInputError(
                f"{where}: {key} uses {REAL_DATA_VARIABLE}, which is not set;"
                " export SYNFUNDUS_REAL_DATA=<folder of the photographs>"
            )
        path = path.replace(REAL_DATA_VARIABLE, real)
    return path if "://" in path else str((folder / Path(path).expanduser()).absolute())


def _key(steps: Sequence[int | str], values: Any, *, missing: bool) -> str:
    """The place of a mistake as the file spells it: without the names of union members that pydantic puts between."""
    key = []
    for number, step in enumerate(steps):
        last = number + 1 == len(steps)
        if isinstance(values, Mapping) and step not in values and not (last and missing):
            continue
        key.append(str(step))
        if isinstance(values, Mapping):
            values = values.get(step)
        elif isinstance(values, list | tuple) and isinstance(step, int) and step < len(values):
            values = values[step]
        else:
            values = None
    return ".".join(key)


def _one_line(error: ValidationError, where: str, values: Mapping[str, Any]) -> str:
    """The first mistake of a study as one line: file, key, what is wrong."""
    first = error.errors(include_url=False)[0]
    key = _key(first["loc"], values, missing=first["type"] == "missing")
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
    parsed = [(*parse_override(override), override) for override in overrides]
    chosen = [value for path, value, _ in parsed if path == ["recipe"]]
    recipe = chosen[-1] if chosen else values.get("recipe")
    if recipe is not None:
        values = merge(_parse_yaml(read_recipe(str(recipe)), f"recipe {recipe}"), values)
    for path, value, override in parsed:
        values = _put(values, path, value, override)
    values = _expand_paths(values, folder, where)
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        raise WrongInputError(_one_line(error, where, values)) from error


def load_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """The study in a YAML file.

    Raises:
        WrongInputError: no such file, or a mistake in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise WrongInputError(f"cannot read study {path} ({reason}); `synfundus study init` writes one") from error
    return resolve(text, str(path), path.absolute().parent, overrides)


def show(study: Study) -> str:
    """The resolved study as YAML."""
    return yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
