"""Choice of the response's media type by the header `Accept` (RFC 9110, section 12.5.1)."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fastapi import Request

from synfundus_serve.problems import Problem

_RANGE = re.compile(r"([^\s/;,]+)/([^\s/;,]+)")
_WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


@dataclass(frozen=True)
class MediaRange:
    """One entry of `Accept`."""

    type: str
    """Lower case; `*` for any type."""
    subtype: str
    """Lower case; `*` for any subtype."""
    weight: float
    """0 to 1; 0 refuses what the range matches."""

    @property
    def specificity(self) -> int:
        """0 for `*/*`, 1 for `image/*`, 2 for `image/png`."""
        return (self.type != "*") + (self.subtype != "*")

    def matches(self, media_type: str) -> bool:
        """Return whether a media type lies in the range."""
        type_, _, subtype = media_type.partition("/")
        return self.type in ("*", type_) and self.subtype in ("*", subtype)


def accepted_type(*offered: str) -> Callable[[Request], str]:
    """Return the dependency of a route that answers with one of these media types; its value is the chosen one."""

    def choose(request: Request) -> str:
        accept = ",".join(request.headers.getlist("accept"))
        chosen = best_of(offered, accept)
        if chosen is None:
            raise Problem(406, f"Accept: {accept[:200]!r} admits no answer of this path; accept {' or '.join(offered)}")
        return chosen

    return choose


def best_of(offered: Sequence[str], accept: str) -> str | None:
    """Return the offered media type that a client prefers; None if it accepts none of them.

    The largest weight decides, then the more specific range, the range that stands first, and the order of `offered`.
    A client that states nothing accepts everything. An entry that is no media range does not count.
    """
    ranges = list(_ranges(accept)) if accept.strip() else [MediaRange("*", "*", 1.0)]
    ranked = [
        ((one.weight, one.specificity, -ranges.index(one), -i), media_type)
        for i, media_type in enumerate(offered)
        if (one := _most_specific(ranges, media_type)) is not None and one.weight > 0
    ]
    return max(ranked)[1] if ranked else None


def _most_specific(ranges: Sequence[MediaRange], media_type: str) -> MediaRange | None:
    matching = [one for one in ranges if one.matches(media_type)]
    return max(matching, key=lambda one: one.specificity, default=None)


def _ranges(accept: str) -> Iterator[MediaRange]:
    """Yield the entries of `Accept` that are media ranges."""
    for entry in accept.lower().split(","):
        text, *parameters = (part.strip() for part in entry.split(";"))
        weights = [part.partition("=")[2].strip() for part in parameters if part.partition("=")[0].strip() == "q"]
        found = _RANGE.fullmatch(text)
        if found and all(map(_WEIGHT.fullmatch, weights)) and (found[1] != "*" or found[2] == "*"):
            yield MediaRange(found[1], found[2], float(weights[0]) if weights else 1.0)
