"""Authentication of HTTP requests by API key, before anything else of a request is read."""

import logging
from pathlib import Path

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from synfundus.errors import WrongInputError
from synfundus_serve.api_keys import owner_of, read_keys
from synfundus_serve.problems import problem_response

PUBLIC_PATHS = {"/healthz", "/readyz", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
"""Paths that need no key. Every other path needs one, including paths that do not exist."""
SCHEME = "bearer"
logger = logging.getLogger(__name__)


class Authentication:
    """Middleware that admits a request with a key of the file. Reads the file anew for each request."""

    def __init__(self, app: ASGIApp, keys_file: Path) -> None:
        self.app, self.keys_file = app, keys_file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PUBLIC_PATHS:
            await self.app(scope, receive, send)
            return
        scheme, _, key = HTTPConnection(scope).headers.get("authorization", "").partition(" ")
        try:
            keys = read_keys(self.keys_file)
        except WrongInputError as error:
            logger.error("every request is refused: %s", error)
            response = problem_response(503, "API keys cannot be checked at present; the service's log has the reason")
            await response(scope, receive, send)
            return
        if scheme.lower() != SCHEME or owner_of(key.strip(), keys) is None:
            detail = "missing or unknown API key; send the header Authorization: Bearer KEY"
            await problem_response(401, detail, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        await self.app(scope, receive, send)
