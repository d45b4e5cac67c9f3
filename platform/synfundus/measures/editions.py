"""What the public edition of a report may hold: no photograph of a person, and nothing that leads to one.

Photographs are left out whole. In texts, whatever looks like a place, a file or a hash of a person is replaced, so that
a setting or a note that names one does not publish it.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

Edition = Literal["private", "public"]
WITHHELD = "[withheld]"
_MARK = '<meta name="synfundus-edition" content="{}">'

_PLACES = re.compile(
    r"""
      \b[a-z][a-z0-9+.-]*://[^\s,;'")]+                            # an address
    | (?<![\w.])(?:~|\.{1,2})?/[^\s,;:'")]+                       # an absolute path, or one from here or home
    | \b[A-Za-z]:\\[^\s,;'")]+                                     # a Windows path
    | [^\s,;:'"(]+/[^\s,;:'"(]+/[^\s,;:'")]+                       # a relative path of three parts or more
    | \S+\.(?i:png|jpe?g|webp|tiff?|bmp|dcm|csv|tsv|xlsx?|npz|npy|parquet|zip|tar|gz|pth?|onnx|safetensors|ya?ml|json)\b
    | (?<![0-9a-fA-F])(?:[0-9a-fA-F]{16}|[0-9a-fA-F]{24}|[0-9a-fA-F]{32})(?![0-9a-fA-F])   # image id, patient hash
    """,
    re.VERBOSE,
)


def edition_mark(edition: Edition) -> str:
    """A line of the page's head that says which edition it is."""
    return _MARK.format(edition)


def is_public(html: str) -> bool:
    """Whether a page is the public edition."""
    return edition_mark("public") in html and edition_mark("private") not in html


def withhold(value: Any) -> Any:
    """A JSON-like value with every place, file name and personal hash in its texts replaced."""
    if isinstance(value, str):
        return _PLACES.sub(WITHHELD, value)
    if isinstance(value, Mapping):
        return {withhold(key): withhold(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [withhold(item) for item in value]
    return value
