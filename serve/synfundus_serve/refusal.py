"""A deployment's refusal of a request, as a value: Ray Serve would log an exception as a failure of the replica."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """Refusal of a request, which the gateway turns into an `application/problem+json` response."""

    status: int
    """HTTP status code."""
    detail: str
    """Explanation in one line."""
    retry_after_s: int | None = None
    """Seconds until the request may succeed."""
