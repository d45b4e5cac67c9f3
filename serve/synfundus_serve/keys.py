"""Who is let in: a key is asked for before anything of a request is read."""

import logging
from pathlib import Path

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from synfundus.errors import WrongInputError
from synfundus_serve.api_keys import owner_of, read_keys
from synfundus_serve.problems import problem_response

OPEN = {"/healthz", "/readyz", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
"""Paths that need no key; any other does, also one that does not exist."""
SCHEME = "bearer"
logger = logging.getLogger(__name__)


class KeyRing:
    """Lets in who shows a key of the file; it is read at each request, so that a deleted line counts at once."""

    def __init__(self, app: ASGIApp, file: Path) -> None:
        self.app, self.file = app, file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self.app(scope, receive, send)
            return
        scheme, _, key = HTTPConnection(scope).headers.get("authorization", "").partition(" ")
        try:
            known = read_keys(self.file)
        except WrongInputError as error:
            logger.error("nobody is let in: %s", error)
            answer = problem_response(503, "keys cannot be checked at present; the log of this service says why")
            await answer(scope, receive, send)
            return
        if scheme.lower() != SCHEME or owner_of(key.strip(), known) is None:
            detail = "this needs a known API key, as the header Authorization: Bearer KEY"
            await problem_response(401, detail, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        await self.app(scope, receive, send)
