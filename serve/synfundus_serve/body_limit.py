"""Limit of the size of request bodies."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synfundus_serve.problems import Problem, problem_response


class BodyLimit:
    """Middleware that refuses a larger body with 413: at once if Content-Length states it, else while it arrives.

    Args:
        max_bytes: limit of every path but those of `max_bytes_by_path`.
        max_bytes_by_path: path -> its own limit.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_bytes_by_path: Mapping[str, int]) -> None:
        self.app, self.max_bytes, self.max_bytes_by_path = app, max_bytes, max_bytes_by_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.max_bytes_by_path.get(scope["path"], self.max_bytes)
        detail = f"the body is larger than {limit / 2**20:g} MiB; split it into several requests"
        content_length = dict(scope["headers"]).get(b"content-length", b"0")
        if content_length.isdigit() and int(content_length) > limit:
            await problem_response(413, detail)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise Problem(413, detail)
            return message

        await self.app(scope, counted, send)
