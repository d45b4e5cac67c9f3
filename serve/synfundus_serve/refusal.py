"""How a deployment says no: a value, not an exception, which Ray Serve would log as a failure of the replica."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """Becomes a problem at the gateway."""

    status: int
    """Of HTTP."""
    detail: str
    retry_after_s: int | None = None
