"""Parser of one HTTP connection, with limits on the head of a request."""

import h11

MAX_HEAD_BYTES = 32 * 2**10
"""Largest head of a request. Heads that arrive in one piece may be up to twice as large."""
MAX_HEADERS = 100
"""Largest number of header lines. Each one costs several times its bytes once it is parsed."""
MAX_TARGET_BYTES = 8 * 2**10
"""Longest request target (path and query)."""


class BoundedConnection(h11.Connection):
    """Connection of a server that refuses large heads and keeps the status of a refusal."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self.num_requests = 0
        """Requests whose head has arrived."""
        self.refusal = (400, "the bytes are not an HTTP/1.1 request")
        """Status and detail of the response to the last error of `next_event`."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next event.

        Raises:
            h11.RemoteProtocolError: the bytes are not HTTP, or a head exceeds a limit; `refusal` has the reason.
        """
        try:
            event = super().next_event()
            if isinstance(event, h11.Request):
                self.num_requests += 1
                _require_small(event)
        except h11.RemoteProtocolError as error:
            self.refusal = (error.error_status_hint, f"the request cannot be parsed ({error})")
            raise
        return event


def _require_small(request: h11.Request) -> None:
    """Refuse a target that is too long and too many headers.

    Raises:
        h11.RemoteProtocolError: with status 414 or 431.
    """
    if len(request.target) > MAX_TARGET_BYTES:
        raise h11.RemoteProtocolError(f"target longer than {MAX_TARGET_BYTES} bytes", error_status_hint=414)
    if len(request.headers) > MAX_HEADERS:
        raise h11.RemoteProtocolError(f"more than {MAX_HEADERS} headers", error_status_hint=431)
