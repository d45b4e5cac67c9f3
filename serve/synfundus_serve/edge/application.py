"""Middleware around Ray Serve's proxy: problem documents for its errors, a limit of waiting bytes, draining."""

import http
import logging

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synfundus_serve.problems import MEDIA_TYPE, problem_response

MAX_UNREAD_BYTES = 64 * 2**20
"""Largest body that the proxy takes. It keeps what the gateway has not read yet, and the gateway reads at most half."""
RETRY_AFTER_S = 10
"""Seconds after which another process may listen at the address of one that stops."""
OF_RAY = {
    b"x-request-timeout-seconds",
    b"x-request-disconnect-disabled",
    b"x-session-id",
    b"serve-multiplexed-model-id",
}
"""Headers by which a client would change how Ray Serve routes, limits or cancels its request. Ray reads _ as -."""
DETAILS = {
    404: "no such path",
    408: "the request took too long",
    429: "too much work is under way; try again later",
    500: "a defect of this service; its log has the details",
    503: "the service does not answer at present; try again",
}
"""Error status of the proxy -> detail. Its own texts name actors and addresses of the cluster."""
logger = logging.getLogger(__name__)


class Edge:
    """ASGI application around that of the proxy."""

    is_draining = False
    """True once this process refuses new requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the proxy; send a problem document if the proxy sends no response."""
        if Edge.is_draining:
            headers = {"Retry-After": str(RETRY_AFTER_S), "Connection": "close"}
            await problem_response(503, "the service is stopping; try again later", headers)(scope, receive, send)
            return
        _normalise(scope)
        body, answer = _Body(receive), _Answer(send)
        try:
            await self._app(scope, body.receive, answer.send)
        except Exception:
            logger.exception("the proxy failed")
        if not answer.is_begun:
            status, detail = (413, _TOO_LARGE) if body.is_too_large else (500, DETAILS[500])
            await problem_response(status, detail)(scope, receive, send)


_TOO_LARGE = f"the body is larger than {MAX_UNREAD_BYTES / 2**20:g} MiB; split it into several requests"


def _normalise(scope: Scope) -> None:
    """Drop Ray's own headers, and turn an absolute target (`GET http://host/path`) into its path."""
    headers = scope["headers"]
    scope["headers"] = [(name, value) for name, value in headers if name.replace(b"_", b"-") not in OF_RAY]
    if not scope["path"].startswith("/") and "://" in scope["path"]:
        scope["path"] = "/" + scope["path"].partition("://")[2].partition("/")[2]
        scope["raw_path"] = b"/" + scope["raw_path"].partition(b"://")[2].partition(b"/")[2]


class _Body:
    """Body of a request. A body that is too large ends as if its client had closed the connection."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._num_bytes = receive, 0

    @property
    def is_too_large(self) -> bool:
        return self._num_bytes > MAX_UNREAD_BYTES

    async def receive(self) -> Message:
        message = await self._receive()
        self._num_bytes += len(message.get("body", b""))
        return {"type": "http.disconnect"} if self.is_too_large else message


class _Answer:
    """Response in which a problem document replaces every other error."""

    def __init__(self, send: Send) -> None:
        self._send, self._replaced_by, self.is_begun = send, b"", False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_begun = True
            message = self._start(message)
        elif self._replaced_by:
            if message.get("more_body", False):
                return
            message = {**message, "body": self._replaced_by}
        await self._send(message)

    def _start(self, message: Message) -> Message:
        headers, status = Headers(raw=message["headers"]), message["status"]
        if status < http.HTTPStatus.BAD_REQUEST or headers.get("content-type") == MEDIA_TYPE:
            return message
        response = problem_response(status, DETAILS.get(status, http.HTTPStatus(status).phrase.lower()))
        self._replaced_by = bytes(response.body)
        kept = [(name, value) for name, value in headers.raw if name not in (b"content-type", b"content-length")]
        return {**message, "headers": response.raw_headers + kept}
