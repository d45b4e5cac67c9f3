"""Errors as the client meets them: RFC 9457, `application/problem+json`; and the limit of a request's body."""

import http
import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"
MAX_BODY_BYTES = 32 * 2**20
logger = logging.getLogger(__name__)


class Problem(HTTPException):
    """An answer other than success: its status, one line for a person, headers."""


def problem_response(
    status: int, detail: str, headers: dict[str, str] | None = None, members: dict[str, Any] | None = None
) -> JSONResponse:
    body = {"type": "about:blank", "title": http.HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(body | (members or {}), status, headers, MEDIA_TYPE)


def _pointer(location: Sequence[int | str]) -> str:
    """JSON pointer into the body of what pydantic complains of."""
    return "#/" + "/".join(str(step) for step in location[1:])


async def _on_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = None if error.headers is None else dict(error.headers)
    return problem_response(error.status_code, str(error.detail), headers)


async def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [
        {"pointer": _pointer(one["loc"]), "detail": one["msg"].removeprefix("Value error, ")} for one in error.errors()
    ]
    return problem_response(
        422, "; ".join(f"{one['pointer']}: {one['detail']}" for one in found), None, {"errors": found}
    )


async def _on_defect(_: Request, error: Exception) -> JSONResponse:
    logger.error("a defect", exc_info=error)
    return problem_response(500, "a defect of this service, which its log tells of")


def speak_problems(app: FastAPI) -> None:
    """Let every error of `app`, its own and the framework's, be a problem."""
    app.add_exception_handler(HTTPException, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_defect)


class BodyLimit:
    """Refuses a body of more than `max_bytes` with 413: at once where it says its length, else once it is over."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if said.isdigit() and int(said) > self.max_bytes:
            await problem_response(413, self._detail)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise Problem(413, self._detail)
            return message

        await self.app(scope, counted, send)

    @property
    def _detail(self) -> str:
        return f"the body is larger than {self.max_bytes / 2**20:g} MiB; send fewer or smaller images"
