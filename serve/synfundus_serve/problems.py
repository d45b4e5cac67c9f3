"""Errors as the client meets them: RFC 9457, `application/problem+json`; and the limit of a request's body."""

import http
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from ray.exceptions import RayActorError
from ray.serve.exceptions import RayServeException
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20
"""Told of one body."""
AWAY_S = 10
"""After which a replica that is replaced may answer again."""
logger = logging.getLogger(__name__)


class Problem(HTTPException):
    """An answer other than success: its status, one line for a person, headers."""


class InvalidBodyError(Exception):
    """A body that is not as described; its cause is pydantic's `ValidationError`."""


def problem(status: int, detail: str) -> dict[str, Any]:
    """Its body."""
    return {"type": "about:blank", "title": http.HTTPStatus(status).phrase, "status": status, "detail": detail}


def problem_response(
    status: int, detail: str, headers: dict[str, str] | None = None, members: dict[str, Any] | None = None
) -> JSONResponse:
    return JSONResponse(problem(status, detail) | (members or {}), status, headers, MEDIA_TYPE)


def _pointer(location: Sequence[int | str]) -> str:
    """JSON pointer (RFC 6901) into the body, as a URI fragment, of what pydantic complains of."""
    return "#" + "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in location)


async def _on_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = None if error.headers is None else dict(error.headers)
    return problem_response(error.status_code, str(error.detail), headers)


async def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error.__cause__, ValidationError)
    found = [
        {"pointer": _pointer(one["loc"]), "detail": one["msg"].removeprefix("Value error, ")}
        for one in error.__cause__.errors(include_url=False, include_context=False, include_input=False)[:MAX_ERRORS]
    ]
    told = "; ".join(f"{one['pointer']}: {one['detail']}" for one in found)
    return problem_response(422, told, None, {"errors": found})


async def _on_absence(_: Request, error: Exception) -> JSONResponse:
    logger.warning("a model does not answer (%s)", error)
    return problem_response(503, "a model does not answer at present; try again", {"Retry-After": str(AWAY_S)})


async def _on_defect(_: Request, error: Exception) -> JSONResponse:
    logger.error("a defect", exc_info=error)
    return problem_response(500, "a defect of this service, which its log tells of")


def speak_problems(app: FastAPI) -> None:
    """Let every error of `app`, its own and the framework's, be a problem."""
    app.add_exception_handler(HTTPException, _on_problem)
    app.add_exception_handler(InvalidBodyError, _on_invalid)
    app.add_exception_handler(RayActorError, _on_absence)
    app.add_exception_handler(RayServeException, _on_absence)
    app.add_exception_handler(Exception, _on_defect)


class BodyLimit:
    """Refuses a body that is too large with 413: at once where it says its length, else once it is over."""

    def __init__(self, app: ASGIApp, max_bytes: int, max_bytes_of: Mapping[str, int]) -> None:
        """`max_bytes_of`: path -> its own limit."""
        self.app, self.max_bytes, self.max_bytes_of = app, max_bytes, max_bytes_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.max_bytes_of.get(scope["path"], self.max_bytes)
        detail = f"the body is larger than {limit / 2**20:g} MiB; send less at once"
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if said.isdigit() and int(said) > limit:
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
