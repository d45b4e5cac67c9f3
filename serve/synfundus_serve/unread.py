"""Refuse parts of a request that no route reads, so that no setting is ignored silently."""

from fastapi import Request

from synfundus_serve.problems import Problem


async def refuse_query(request: Request) -> None:
    """Refuse a query string.

    Raises:
        Problem: the request has one.
    """
    if request.scope["query_string"]:
        raise Problem(422, "no path reads a query string; send settings as JSON in the body")


async def refuse_encoding(request: Request) -> None:
    """Refuse a compressed body.

    Raises:
        Problem: `Content-Encoding` names anything but `identity`.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Problem(415, "Content-Encoding is not supported; send the body as it is", {"Accept-Encoding": "identity"})
