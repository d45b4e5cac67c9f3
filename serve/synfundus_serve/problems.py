"""Error responses: RFC 9457, `application/problem+json`."""

import http
import logging
from collections.abc import Sequence
from typing import NotRequired, TypedDict, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from ray.exceptions import RayActorError
from ray.serve.exceptions import RayServeException
from starlette.exceptions import HTTPException

from synfundus_serve.refusal import Refusal

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20
"""Errors of one body that a response lists."""
MAX_ERROR_CHARS = 300
"""Largest length of such an error, because a message may repeat a key of a megabyte."""
REPLACEMENT_S = 10
"""Seconds after which a replaced replica may answer again."""
Result = TypeVar("Result")
logger = logging.getLogger(__name__)


class Problem(HTTPException):
    """An error response: status, explanation in one line, headers."""


class InvalidBodyError(Exception):
    """A body that does not match its model; the cause is pydantic's `ValidationError`."""


class FieldError(TypedDict):
    """An error at one place of a request's body."""

    pointer: str
    """JSON pointer (RFC 6901) to the place, as a URI fragment."""
    detail: str


class ProblemBody(TypedDict):
    """Body of an error response."""

    type: str
    title: str
    status: int
    detail: str
    errors: NotRequired[list[FieldError]]


def problem(status: int, detail: str) -> ProblemBody:
    """Return the body of an error response."""
    return {"type": "about:blank", "title": http.HTTPStatus(status).phrase, "status": status, "detail": detail}


def problem_response(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an error response."""
    return JSONResponse(problem(status, detail), status, headers, MEDIA_TYPE)


def require_result(result: Result | Refusal) -> Result:
    """Return the result of a deployment, or raise its refusal as a problem."""
    if isinstance(result, Refusal):
        headers = None if result.retry_after_s is None else {"Retry-After": str(result.retry_after_s)}
        raise Problem(result.status, result.detail, headers)
    return result


def _pointer(location: Sequence[int | str]) -> str:
    """Return a location of pydantic as the pointer of a `FieldError`."""
    return "#" + "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in location)


async def _answer_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = None if error.headers is None else dict(error.headers)
    return problem_response(error.status_code, str(error.detail), headers)


async def _answer_invalid_body(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error.__cause__, ValidationError)
    errors: list[FieldError] = [
        {
            "pointer": _pointer(one["loc"])[:MAX_ERROR_CHARS],
            "detail": one["msg"].removeprefix("Value error, ")[:MAX_ERROR_CHARS],
        }
        for one in error.__cause__.errors(include_url=False, include_context=False, include_input=False)[:MAX_ERRORS]
    ]
    detail = "; ".join(f"{one['pointer']}: {one['detail']}" for one in errors)
    return JSONResponse({**problem(422, detail), "errors": errors}, 422, None, MEDIA_TYPE)


async def _answer_unavailable(_: Request, error: Exception) -> JSONResponse:
    logger.warning("a model does not answer (%s)", error)
    headers = {"Retry-After": str(REPLACEMENT_S)}
    return problem_response(503, "a model does not answer at present; try again", headers)


async def _answer_defect(_: Request, error: Exception) -> JSONResponse:
    logger.error("a defect", exc_info=error)
    return problem_response(500, "a defect of this service; its log has the details")


def add_problem_handlers(app: FastAPI) -> None:
    """Make `app` answer every error, its own and the framework's, with a problem."""
    app.add_exception_handler(HTTPException, _answer_problem)
    app.add_exception_handler(InvalidBodyError, _answer_invalid_body)
    app.add_exception_handler(RayActorError, _answer_unavailable)
    app.add_exception_handler(RayServeException, _answer_unavailable)
    app.add_exception_handler(Exception, _answer_defect)
