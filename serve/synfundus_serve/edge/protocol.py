"""Server side of one connection: uvicorn's h11 protocol with limits on bytes and time, and problem documents.

uvicorn prefers httptools, whose parser limits no header. Neither of its protocols limits the time that a client takes.
"""

import asyncio
import json
from contextlib import suppress
from typing import Any, ClassVar

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from synfundus_serve.edge.connection import MAX_HEAD_BYTES, BoundedConnection
from synfundus_serve.problems import MEDIA_TYPE, problem

PERIOD_S = 7.5
"""Time that a client has for the head of a request, and for the next `MIN_PERIOD_BYTES` of its body.

It is checked once per period, so a slow connection is closed after one to two periods. If head and body are both slow,
that is within 30 s.
"""
MIN_PERIOD_BYTES = 48 * 2**10
"""Smallest number of bytes of a body that must arrive in a period, unless the body ends in it."""
LINGER_S = 1.0
"""Time between a refusal and the end of its connection, in which the client can read the answer."""


class BoundedProtocol(H11Protocol):
    """One connection."""

    open: ClassVar[set["BoundedProtocol"]] = set()
    """All open connections of this process."""
    conn: BoundedConnection

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = BoundedConnection()
        self._is_refused = False
        self._num_bytes = 0  # received since the last check
        self._awaited: tuple[str, int] | None = None  # at the last check
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_busy(self) -> bool:
        """Return whether a request is under way, or bytes of its response still have to be sent."""
        is_answered = self.cycle is None or self.cycle.response_complete or self.cycle.disconnected
        return not is_answered or bool(self.transport.get_write_buffer_size())

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch the time of the connection."""
        super().connection_made(transport)
        self.open.add(self)
        self._timer = self.loop.call_later(PERIOD_S, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching the time of the connection."""
        self.open.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse bytes in pieces, so that the limit of a head is checked before a larger one is parsed."""
        self._num_bytes += len(data)
        for start in range(0, len(data), MAX_HEAD_BYTES):
            if self._is_refused:
                return
            super().data_received(data[start : start + MAX_HEAD_BYTES])

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's text is the same for every cause
        """Answer bytes that cannot be parsed; uvicorn calls it."""
        self.refuse(*self.conn.refusal)

    def refuse(self, status: int, detail: str) -> None:
        """Send a problem, unless a response has begun, and close the connection."""
        if self._is_refused:
            return
        self._is_refused = True
        self._unset_keepalive_if_required()
        self.flow.resume_reading()  # what still arrives is dropped, so that the answer is not lost in a reset
        body = json.dumps(problem(status, detail)).encode()
        length = str(len(body)).encode()
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", length), (b"connection", b"close")]
        reason = problem(status, detail)["title"].encode()
        with suppress(h11.LocalProtocolError):  # a response has begun
            for event in (
                h11.Response(status_code=status, headers=headers, reason=reason),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.flow.resume_writing()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.abort)

    def _should_upgrade(self) -> bool:
        """Return False: a server may ignore an upgrade, and no route is a WebSocket."""
        return False

    def _check(self) -> None:
        """Close the connection if its client made no progress for a whole period."""
        if self._is_refused:  # it ends after `LINGER_S`
            return
        awaited = self._awaited_part()
        is_slow = awaited is not None and awaited == self._awaited
        if awaited is not None and awaited[0] == "body" and not self.cycle.response_complete:
            is_slow = is_slow and self._num_bytes < MIN_PERIOD_BYTES
        self._awaited, self._num_bytes = awaited, 0
        if is_slow:
            self.refuse(408, f"the client took longer than {PERIOD_S:g} s for a part of the request; send it again")
            return
        self._timer = self.loop.call_later(PERIOD_S, self._check)

    def _awaited_part(self) -> tuple[str, int] | None:
        """Return the part of a request that the client owes, with the number of the request; None if it owes none."""
        number = self.conn.num_requests
        if num_unread := self.transport.get_write_buffer_size():
            return f"reads down to {num_unread} bytes", number
        if self.conn.their_state is h11.SEND_BODY:
            return None if self.flow.read_paused else ("body", number)
        is_within_head = not number or bool(self.conn.trailing_data[0])
        return ("head", number) if self.conn.their_state is h11.IDLE and is_within_head else None
