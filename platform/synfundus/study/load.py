"""From the text of a study file to a validated study, and back."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from synfundus.errors import WrongInputError
from synfundus.study.config import SCHEMA_VERSION, Study
from synfundus.study.paths import expand_paths
from synfundus.study.recipes import read_recipe
from synfundus.study.tree import Override, Tree, merge, parse


def load_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Return the study in a YAML file, with overrides such as `generator.num_steps=500` on top.

    Raises:
        WrongInputError: the file cannot be read, or one of its settings is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise WrongInputError(f"study {path}: cannot be read ({reason}); `synfundus study init` writes one") from error
    return resolve(text, str(path), path.absolute().parent, overrides)


def resolve(text: str, name: str, folder: Path, overrides: Sequence[str] = ()) -> Study:
    """Return the study in the text of a study file.

    Args:
        name: the file's name, for messages.
        folder: relative paths in the text are relative to it.
        overrides: settings such as `generator.num_steps=500`, put on top in this order.

    Raises:
        WrongInputError: a setting is wrong; one line with file, key and remedy.
    """
    values = parse(text, name)
    _require_known_version(values, name)
    changes = [Override.parse(override) for override in overrides]
    chosen = [change.value for change in changes if change.path == ("recipe",)]
    recipe = chosen[-1] if chosen else values.get("recipe")
    if recipe is not None:
        values = merge(parse(read_recipe(str(recipe)), f"recipe {recipe}"), values)
    for change in changes:
        values = change.apply(values)
    values = expand_paths(values, folder, name)
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        raise WrongInputError(_first_mistake(error, name, values)) from error


def show(study: Study) -> str:
    """Return the resolved study as YAML."""
    return yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _require_known_version(values: Tree, name: str) -> None:
    version = values.get("version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise WrongInputError(
            f"{name}: version {version} is newer than this program reads ({SCHEMA_VERSION}); upgrade synfundus"
        )


def _first_mistake(error: ValidationError, name: str, values: Tree) -> str:
    """Return the first mistake of a study as one line: file, key, what is wrong."""
    first = error.errors(include_url=False)[0]
    key = _key_in_file(first["loc"], values, missing=first["type"] == "missing")
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
    return f"{name}: {key + ': ' if key else ''}{message}{rest}"


def _key_in_file(steps: Sequence[int | str], values: object, *, missing: bool) -> str:
    """Return the place of a mistake as the file spells it, without the names of union members that pydantic adds."""
    key = []
    for number, step in enumerate(steps):
        is_last = number + 1 == len(steps)
        if isinstance(values, dict) and step not in values and not (is_last and missing):
            continue
        key.append(str(step))
        if isinstance(values, dict):
            values = values.get(step)
        elif isinstance(values, list | tuple) and isinstance(step, int) and step < len(values):
            values = values[step]
        else:
            values = None
    return ".".join(key)
