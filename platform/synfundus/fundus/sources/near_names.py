"""Columns whose names look like a name that the layout reads, such as `DR_Grade` for `dr_grade`."""

import difflib
import re
import unicodedata
from collections.abc import Iterable

LIKENESS = 0.9
"""Smallest ratio of `difflib` of two near names, without case and punctuation: one letter more or less in a name of six
or more. In a shorter one, such as `is_amd`, another letter may name something else (`is_md`)."""
_REMARK = re.compile(r"\(.*?\)|\[.*?\]")
"""A remark in brackets, as in `DR grade (0-4)`."""


def near_name(column: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that `column` looks like, or None."""
    plain = {_plain(name): name for name in names}
    close = difflib.get_close_matches(_plain(column), plain, n=1, cutoff=LIKENESS)
    return plain[close[0]] if close else None


def _plain(name: str) -> str:
    """Return letters and digits alone, in small letters, without remarks."""
    return "".join(filter(str.isalnum, _REMARK.sub("", unicodedata.normalize("NFKC", name).casefold())))
