"""The two editions of a report. The public one holds no photograph of a person, and nothing that leads to one.

`withhold` replaces, in every text, everything that looks like the path of a file, the name of a file or the digest of a
person or an image, so that a setting or a note that names one does not publish it.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

Edition = Literal["private", "public"]
ValueT = TypeVar("ValueT")
WITHHELD = "[withheld]"
_MARK = '<meta name="synfundus-edition" content="{}">'

_PLACES = re.compile(
    r"""
      \b[a-z][a-z0-9+.-]*://[^\s,;'")]+                            # an address
    | (?<![\w.])(?:~|\.{1,2})?/[^\s,;:'")]+                       # a path from the root, from here or from home
    | \b[A-Za-z]:\\[^\s,;'")]+                                     # a Windows path
    | [^\s,;:'"(]+/[^\s,;:'"(]+/[^\s,;:'")]+                       # a relative path of three parts or more
    | \S+\.(?i:png|jpe?g|webp|tiff?|bmp|dcm|csv|tsv|xlsx?|npz|npy|parquet|zip|tar|gz|pth?|onnx|safetensors|ya?ml|json)\b
    | (?<![0-9a-fA-F])(?:[0-9a-fA-F]{16}|[0-9a-fA-F]{24}|[0-9a-fA-F]{32})(?![0-9a-fA-F])   # image id, patient digest
    """,
    re.VERBOSE,
)


def edition_mark(edition: Edition) -> str:
    """Return the line of a page's head that names its edition."""
    return _MARK.format(edition)


def is_public(html: str) -> bool:
    """Return whether a page is the public edition."""
    return edition_mark("public") in html and edition_mark("private") not in html


def withhold(value: ValueT) -> ValueT:
    """Return a copy in which every path, file name and personal digest in a text is replaced by `[withheld]`.

    Takes a model, a JSON value or a text.
    """
    withheld: ValueT = _withhold(value)
    return withheld


def _withhold(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return type(value).model_validate(_withhold(value.model_dump(mode="json")))
    if isinstance(value, str):
        return _PLACES.sub(WITHHELD, value)
    if isinstance(value, Mapping):
        return {_withhold(key): _withhold(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_withhold(item) for item in value]
    return value
