"""Request bodies: JSON into its model, and photographs out of any of the four formats that carry them."""

import asyncio
import json
from collections import Counter
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser

from synfundus_serve.messages import MAX_IMAGES, DiagnoseRequest
from synfundus_serve.problems import InvalidBodyError, Problem

MAX_BODY_BYTES = 2**20
MAX_PHOTOGRAPHS_BYTES = 32 * 2**20
# Starlette writes files of a form above 1 MiB to the disk; no photograph may be written there.
MultiPartParser.spool_max_size = MAX_PHOTOGRAPHS_BYTES
Body = TypeVar("Body", bound=BaseModel)


def media_type_of(request: Request) -> str:
    """Return the media type of the body, lower case, without parameters; empty if the request states none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def parse_json(model: type[Body], request: Request) -> Body:
    """Return the body as `model`; an empty body is `{}`.

    Raises:
        InvalidBodyError: the body is not JSON, does not match the model, or has a key twice in one object.
    """
    try:
        # In a thread, because base64 of photographs takes long enough to delay other requests.
        return await asyncio.to_thread(_parse, model, await request.body() or b"{}")
    except ValidationError as error:
        raise InvalidBodyError from error


def _parse(model: type[Body], body: bytes) -> Body:
    parsed = model.model_validate_json(body)
    json.loads(body, object_pairs_hook=_require_single_keys)  # pydantic takes the last of two equal keys
    return parsed


def _require_single_keys(pairs: list[tuple[str, object]]) -> None:
    """Refuse an object with a key twice: readers of JSON differ in which one counts.

    Raises:
        ValidationError: as pydantic raises it.
    """
    keys = Counter(key for key, _ in pairs)
    if twice := [key for key, count in keys.items() if count > 1]:
        message = PydanticCustomError(
            "duplicate_key", "key {key} occurs twice in one object; give it once", {"key": repr(twice[0])}
        )
        raise ValidationError.from_exception_data("body", [{"type": message, "loc": (), "input": None}])


async def read_uploads(request: Request) -> list[bytes]:
    """Return the encoded photographs of a request.

    Raises:
        Problem: the media type is not supported, or the body holds no photograph.
        InvalidBodyError: the body is JSON and does not match `DiagnoseRequest`.
    """
    media_type = media_type_of(request)
    if media_type in ("image/jpeg", "image/png"):
        photographs = [await request.body()]
    elif media_type == "application/json":
        photographs = (await parse_json(DiagnoseRequest, request)).images
    elif media_type == "multipart/form-data":
        photographs = await _read_form(request)
    else:
        raise Problem(
            415,
            "media type not supported; send multipart/form-data with files named images, application/json, image/jpeg"
            " or image/png",
        )
    if not photographs:
        raise Problem(422, "no photograph; name the form's files images")
    return photographs


async def _read_form(request: Request) -> list[bytes]:
    """Return the content of the form's files named `images`."""
    try:
        async with request.form(max_files=MAX_IMAGES) as form:
            return [await part.read() for part in form.getlist("images") if isinstance(part, UploadFile)]
    except HTTPException as error:
        if error.status_code != 400:
            raise
        raise Problem(422, f"the form cannot be read ({error.detail})") from error
