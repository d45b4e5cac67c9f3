"""Paths in a study file: relative ones are relative to the file, and one variable may stand in them."""

from pathlib import Path

from synfundus.environment import Environment
from synfundus.errors import WrongInputError
from synfundus.study.files import map_files
from synfundus.study.tree import Tree, Value

REAL_DATA_VARIABLE = "${SYNFUNDUS_REAL_DATA}"


def expand_paths(values: Tree, folder: Path, name: str) -> Tree:
    """Return `values` with absolute paths in place of relative ones and of `${SYNFUNDUS_REAL_DATA}`.

    Args:
        folder: the folder of the study file.
        name: the file's name, for messages.

    Raises:
        WrongInputError: the variable is not set, or a file is on S3 that has to lie on this machine.
    """
    expanded = dict(values)
    if "data" in values:
        expanded["data"] = _expand_sources(values["data"], folder, name)

    def absolute(path: str, place: str) -> str:
        return _require_local(_absolute(path, folder, f"{name}: {place}"), f"{name}: {place}")

    expanded = map_files(expanded, absolute)
    if isinstance(root := values.get("root"), str):
        expanded["root"] = _absolute(root, folder, f"{name}: root")
    return expanded


def _expand_sources(data: Value, folder: Path, name: str) -> Value:
    """Return the section `data` with the path of each source expanded; validation refuses any other form of it."""
    if not isinstance(data, dict) or not isinstance(sources := data.get("sources"), list):
        return data
    expanded: list[Value] = []
    for number, source in enumerate(sources):
        if isinstance(source, dict) and isinstance(path := source.get("path"), str):
            source = {**source, "path": _absolute(path, folder, f"{name}: data.sources.{number}.path")}
        expanded.append(source)
    return {**data, "sources": expanded}


def _absolute(path: str, folder: Path, place: str) -> str:
    if REAL_DATA_VARIABLE in path:
        real = Environment().real_data
        if real is None:
            raise WrongInputError(
                f"{place} uses {REAL_DATA_VARIABLE}, which is not set;"
                " export SYNFUNDUS_REAL_DATA=<folder of the photographs>"
            )
        path = path.replace(REAL_DATA_VARIABLE, str(real))
    if not path.strip():
        raise WrongInputError(f"{place}: is empty; name a file or folder")
    if "\0" in path:
        raise WrongInputError(f"{place}: {path!r} holds a null character; correct the path")
    if "://" in path:
        return path
    try:
        absolute = (folder / Path(path).expanduser()).absolute()
    except RuntimeError as error:  # `~name` of no user of this machine
        raise WrongInputError(f"{place}: {path} names no user of this machine; correct the path") from error
    return str(absolute.resolve() if ".." in absolute.parts else absolute)


def _require_local(path: str, place: str) -> str:
    if "://" in path:
        raise WrongInputError(f"{place}: {path} is not on this machine; copy it here and name the copy")
    return path
