"""Settings as YAML gives them, before they are validated: parse a file, merge two files, put an override in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias, cast

import yaml

from synfundus.errors import WrongInputError

Value: TypeAlias = "Tree | list[Value] | str | int | float | bool | date | None"
Tree: TypeAlias = "dict[str, Value]"
NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)
"""Errors of PyYAML. ValueError: a date or a number that Python cannot hold; RecursionError: too many brackets."""


class _StrictLoader(yaml.SafeLoader):
    """A loader that refuses a key given twice; PyYAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        keys = set()
        for key_node, _ in node.value:
            key = (key_node.tag, key_node.value) if isinstance(key_node, yaml.ScalarNode) else id(key_node)
            if key in keys:
                raise yaml.MarkedYAMLError(problem=f"key {key_node.value!r} twice", problem_mark=key_node.start_mark)
            keys.add(key)
        return super().construct_mapping(node, deep)


def parse(text: str, name: str) -> Tree:
    """Return the settings in the text of a YAML file.

    Args:
        name: the file's name, for messages.

    Raises:
        WrongInputError: the text is not valid YAML, or not a mapping.
    """
    try:
        values = yaml.load(text, _StrictLoader)  # noqa: S506  a SafeLoader
    except NOT_YAML as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise WrongInputError(f"{name}{line}: not valid YAML ({getattr(error, 'problem', error)})") from error
    if not isinstance(values, dict):
        raise WrongInputError(f"{name}: expected settings (key: value lines), found {type(values).__name__}")
    return cast("Tree", values)


def merge(base: Tree, changes: Tree) -> Tree:
    """Return `base` with `changes` on top: mappings are merged key by key, any other value is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


@dataclass(frozen=True)
class Override:
    """One `--set a.b=c` of the command line."""

    text: str
    """The override as it was given."""
    path: tuple[str, ...]
    """Keys from the top of the study down; a number is an index of a list."""
    value: Value

    @classmethod
    def parse(cls, text: str) -> "Override":
        """Split `a.b=c`; the value is YAML.

        Raises:
            WrongInputError: the text has no key or no `=`, or its value is not valid YAML.
        """
        key, sign, value = text.partition("=")
        path = tuple(key.strip().split("."))
        if not sign or not all(path):
            raise WrongInputError(f"--set {text}: expected KEY=VALUE, such as generator.num_steps=500")
        try:
            return cls(text, path, yaml.safe_load(value))
        except NOT_YAML as error:
            problem = getattr(error, "problem", None) or error
            raise WrongInputError(f"--set {text}: the value is not valid YAML ({problem}); quote it") from error

    def apply(self, values: Tree) -> Tree:
        """Return `values` with this setting replaced; a mapping is merged into the existing one.

        Raises:
            WrongInputError: the path leads to an index that a list does not have.
        """
        return cast("Tree", self._put(values, self.path))

    def _put(self, value: Value, path: Sequence[str]) -> Value:
        if not path:
            both = isinstance(value, dict) and isinstance(self.value, dict)
            return merge(cast("Tree", value), cast("Tree", self.value)) if both else self.value
        step, rest = path[0], path[1:]
        if isinstance(value, list):
            index = self._index(step, len(value))
            return [self._put(item, rest) if n == index else item for n, item in enumerate(value)]
        inner = dict(value) if isinstance(value, dict) else {}
        inner[step] = self._put(inner.get(step), rest)
        return inner

    def _index(self, step: str, length: int) -> int:
        if step.isdecimal() and int(step) < length:
            return int(step)
        known = f"its indices are 0 to {length - 1}" if length else "it is empty"
        raise WrongInputError(f"--set {self.text}: the list has no item {step!r}; {known}")
