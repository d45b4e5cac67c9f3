"""The HTTP interface: routes and formats. What computes lies behind two handles."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ValidationError
from ray.serve.handle import DeploymentHandle
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser

from synfundus import __version__
from synfundus.diffusion.engine import RowRequest
from synfundus.labels import LABEL_NAMES, LABELS, encode_conditions
from synfundus.samples.shards import encode_image
from synfundus_serve.keys import KeyRing
from synfundus_serve.messages import (
    DIAGNOSE_EXAMPLE,
    GENERATE_EXAMPLE,
    MAX_IMAGES,
    NOTICE,
    DiagnoseRequest,
    DiagnoseResponse,
    GeneratedImage,
    GenerateRequest,
    GenerateResponse,
    LabelInfo,
    LabelsResponse,
    ModelsResponse,
)
from synfundus_serve.problems import (
    MEDIA_TYPE,
    BodyLimit,
    InvalidBodyError,
    Problem,
    problem,
    problem_response,
    speak_problems,
)
from synfundus_serve.refusal import Refusal

T = TypeVar("T")
Body = TypeVar("Body", bound=BaseModel)
READY_TIMEOUT_S = 5.0
MAX_BODY_BYTES = 2**20
MAX_PHOTOGRAPHS_BYTES = 32 * 2**20
MultiPartParser.spool_max_size = MAX_PHOTOGRAPHS_BYTES  # beyond 1 MiB, as usual, they would be written to a disk
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {MEDIA_TYPE: {"example": problem(status, text)}}}
    for status, text in {
        401: "No API key, or one that is not known.",
        413: "The body or a picture is too large.",
        415: "A media type that is not taken.",
        422: "A request that can never be served.",
        429: "Too many images are under way; Retry-After says when to try again.",
        503: "A model does not answer at present.",
    }.items()
}
GIVEN = ("application/json", "image/png", "*/*", "application/*", "image/*")
BINARY = {"schema": {"type": "string", "format": "binary"}}
GENERATE_BODY = {
    "content": {"application/json": {"schema": GenerateRequest.model_json_schema(), "example": GENERATE_EXAMPLE}}
}
DIAGNOSE_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["images"],
                "properties": {"images": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            }
        },
        "application/json": {
            "schema": DiagnoseRequest.model_json_schema(),
            "example": DIAGNOSE_EXAMPLE,
        },
        "image/jpeg": BINARY,
        "image/png": BINARY,
    },
}


def _answered(result: T | Refusal) -> T:
    """The result of a deployment, or its refusal as a problem."""
    if isinstance(result, Refusal):
        headers = None if result.retry_after_s is None else {"Retry-After": str(result.retry_after_s)}
        raise Problem(result.status, result.detail, headers)
    return result


def make_app(study: str, keys_file: Path | None, generation: DeploymentHandle, diagnosis: DeploymentHandle) -> FastAPI:
    """The application of one replica of the gateway; without a file of keys it lets everybody in."""
    app = FastAPI(title="SynFundus", version=__version__, description=NOTICE)
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES, max_bytes_of={"/v1/diagnose": MAX_PHOTOGRAPHS_BYTES})
    if keys_file is not None:
        app.add_middleware(KeyRing, file=keys_file)  # added last, asked first
    speak_problems(app)
    _add_probes(app, generation, diagnosis)
    described = [Depends(HTTPBearer(auto_error=False))]  # for the interface's description; KeyRing asks
    routes = APIRouter(prefix="/v1", dependencies=described, responses=PROBLEMS)
    _add_generate(routes, generation, diagnosis)
    _add_diagnose(routes, diagnosis)
    _add_facts(routes, study, generation, diagnosis)
    app.include_router(routes)
    return app


def _add_probes(app: FastAPI, generation: DeploymentHandle, diagnosis: DeploymentHandle) -> None:
    @app.get("/healthz", summary="Whether the gateway lives")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", summary="Whether both models answer", responses={503: {"content": {MEDIA_TYPE: {}}}})
    async def readyz() -> Response:
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await asyncio.gather(generation.require_working.remote(), diagnosis.info.remote())
        except Exception as error:  # whatever it is, the answer is not yet
            return problem_response(503, f"the models do not answer ({type(error).__name__})")
        return JSONResponse({"status": "ready"})


def _add_facts(routes: APIRouter, study: str, generation: DeploymentHandle, diagnosis: DeploymentHandle) -> None:
    @routes.get("/labels", summary="What can be asked for and seen")
    async def labels() -> LabelsResponse:
        reasons = await diagnosis.not_available.remote()
        return LabelsResponse(
            labels=[
                LabelInfo(
                    name=label.name,
                    title=label.title,
                    kind=label.kind,
                    max_value=label.max_value,
                    diagnosis="not available" if label.name in reasons else "available",
                    reason=reasons.get(label.name),
                )
                for label in LABELS
            ]
        )

    @routes.get("/models", summary="Which models answer")
    async def models() -> ModelsResponse:
        generator, annotator = await asyncio.gather(generation.info.remote(), diagnosis.info.remote())
        return ModelsResponse(study=study, version=__version__, generator=generator, annotator=annotator)


def _add_generate(routes: APIRouter, generation: DeploymentHandle, diagnosis: DeploymentHandle) -> None:
    @routes.post(
        "/generate",
        summary="Synthetic photographs",
        response_model=GenerateResponse,
        responses={200: {"content": {"image/png": BINARY}}},
        openapi_extra={"requestBody": GENERATE_BODY},
    )
    async def generate(request: Request, accept: Annotated[str, Header()] = "*/*") -> Response:
        """As JSON; or, where `Accept: image/png` asks for it, one PNG with what belongs to it in headers."""
        if _media_type(request) not in ("", "application/json"):
            raise Problem(415, "send application/json")
        asked, as_png = await _parsed(GenerateRequest, request), _wants_png(accept)
        if as_png and asked.n != 1:
            raise Problem(422, f"n is {asked.n}, but one PNG holds one image; ask for n = 1, or for JSON")
        response = await _generate(asked, generation, diagnosis)
        if as_png:
            return _as_png(response)
        body = await asyncio.to_thread(response.model_dump_json)
        return Response(body, media_type="application/json")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _parsed(model: type[Body], request: Request) -> Body:
    """The body, which may be left out where everything in it may; in a thread, for photographs are large."""
    try:
        return await asyncio.to_thread(model.model_validate_json, await request.body() or b"{}")
    except ValidationError as error:
        raise InvalidBodyError from error


def _wants_png(accept: str) -> bool:
    """Whether, of what is given here, PNG is named first."""
    named = (kind.partition(";")[0].strip().lower() for kind in accept.split(","))
    return next((kind for kind in named if kind in GIVEN), "").startswith("image/")


async def _generate(
    request: GenerateRequest, generation: DeploymentHandle, diagnosis: DeploymentHandle
) -> GenerateResponse:
    generator, annotator = await asyncio.gather(generation.info.remote(), diagnosis.info.remote())
    solver = request.solver_config(generator.usual_solver)
    condition = {name: request.condition.get(name) for name in LABEL_NAMES}
    (vector,) = encode_conditions([condition])
    seeds = request.seeds()
    pixels = _answered(await generation.draw.remote([RowRequest(vector, seed, solver) for seed in seeds]))
    seen = await diagnosis.annotate.remote(pixels)

    def encoded() -> list[GeneratedImage]:
        return [
            GeneratedImage(
                image=encode_image(pixels_HWC, "png", seed=seed, model=generator.digest),
                seed=seed,
                condition=condition,
                annotation=one.annotation,
                probability=one.probability,
            )
            for pixels_HWC, seed, one in zip(pixels, seeds, seen, strict=True)
        ]

    images = await asyncio.to_thread(encoded)  # the loop answers others meanwhile
    return GenerateResponse(model=generator.digest, annotator=annotator.digest, solver=solver, images=images)


def _as_png(response: GenerateResponse) -> Response:
    (made,) = response.images
    headers = {
        "SynFundus-Notice": response.notice,
        "SynFundus-Seed": str(made.seed),
        "SynFundus-Model": response.model,
        "SynFundus-Condition": json.dumps(made.condition),
        "SynFundus-Annotation": json.dumps(made.annotation),
    }
    return Response(made.image, media_type="image/png", headers=headers)


def _add_diagnose(routes: APIRouter, diagnosis: DeploymentHandle) -> None:
    @routes.post("/diagnose", summary="What photographs show", openapi_extra={"requestBody": DIAGNOSE_BODY})
    async def diagnose(request: Request) -> DiagnoseResponse:
        photographs = await _photographs(request)
        info = await diagnosis.info.remote()
        return DiagnoseResponse(annotator=info.digest, images=_answered(await diagnosis.diagnose.remote(photographs)))


async def _photographs(request: Request) -> list[bytes]:
    """The encoded photographs of a request, in whichever of the four formats it came."""
    media_type = _media_type(request)
    if media_type in ("image/jpeg", "image/png"):
        found = [await request.body()]
    elif media_type == "application/json":
        found = (await _parsed(DiagnoseRequest, request)).images
    elif media_type == "multipart/form-data":
        found = await _files(request)
    else:
        raise Problem(
            415, "send multipart/form-data with files named images, application/json, image/jpeg or image/png"
        )
    if not found:
        raise Problem(422, "no photograph; name the form's files images")
    return found


async def _files(request: Request) -> list[bytes]:
    """The files of a form that are named images."""
    try:
        async with request.form(max_files=MAX_IMAGES) as form:
            return [await part.read() for part in form.getlist("images") if isinstance(part, UploadFile)]
    except HTTPException as error:
        if error.status_code != 400:
            raise
        raise Problem(422, f"the form cannot be read ({error.detail})") from error
