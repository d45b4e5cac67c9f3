"""Places in a study that name a file or folder of this machine, beside the paths of the sources."""

from collections.abc import Callable, Sequence
from typing import Final

from synfundus.study.tree import Tree, Value

FILE_KEYS: Final = (
    ("annotator", "init_from"),
    ("external_annotator", "predictions"),
    ("external_annotator", "images_folder"),
    ("external_annotator", "weights"),
    ("generator", "init_from"),
    ("evaluation", "inception_weights"),
    ("evaluation", "encoders", "*", "weights"),
    ("transfer", "arms", "*", "weights", "*"),
)
"""Keys from the top of the study down; `*` stands for every key of a mapping."""


def map_files(values: Tree, change: Callable[[str, str], str]) -> Tree:
    """Return the settings with each named file replaced by `change(path, place)`; other values stay as they are."""
    for keys in FILE_KEYS:
        values = _mapped_tree(values, keys, "", change)
    return values


def named_files(values: Tree) -> dict[str, str]:
    """Return the path of each file that the settings name, by its place, such as `generator.init_from`."""
    found: dict[str, str] = {}

    def note(path: str, place: str) -> str:
        found[place] = path
        return path

    map_files(values, note)
    return found


def _mapped(value: Value, keys: Sequence[str], place: str, change: Callable[[str, str], str]) -> Value:
    if not keys:
        return change(value, place) if isinstance(value, str) else value
    return _mapped_tree(value, keys, place, change) if isinstance(value, dict) else value


def _mapped_tree(values: Tree, keys: Sequence[str], place: str, change: Callable[[str, str], str]) -> Tree:
    steps = list(values) if keys[0] == "*" else [step for step in keys[:1] if step in values]
    changed = {step: _mapped(values[step], keys[1:], f"{place}.{step}".lstrip("."), change) for step in steps}
    return {**values, **changed}
