"""The HTTP interface: routes, keys, formats. What computes lies behind two handles."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import ValidationError
from ray.serve.handle import DeploymentHandle
from starlette.datastructures import UploadFile

from synfundus import __version__
from synfundus.api_keys import owner_of, read_keys
from synfundus.diffusion.engine import RowRequest
from synfundus.labels import LABEL_NAMES, LABELS, encode_conditions
from synfundus.samples.shards import encode_image
from synfundus_serve.messages import (
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
from synfundus_serve.problems import MEDIA_TYPE, BodyLimit, Problem, problem_response, speak_problems
from synfundus_serve.refusal import Refusal

T = TypeVar("T")
READY_TIMEOUT_S = 5.0
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {MEDIA_TYPE: {}}}
    for status, text in {
        401: "No API key, or one that is not known.",
        413: "The body or a picture is too large.",
        422: "A request that can never be served.",
        429: "Too many images are under way; Retry-After says when to try again.",
    }.items()
}
BINARY = {"schema": {"type": "string", "format": "binary"}}
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
            "example": {"images": ["<base64 of a JPEG or PNG>"]},
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


class KeyRing:
    """Lets in who shows a key of the file; it is read at each request, so that a deleted line counts at once."""

    def __init__(self, file: Path | None) -> None:
        """None: everybody is let in."""
        self.file = file

    async def __call__(
        self, shown: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]
    ) -> None:
        if self.file is None:
            return
        if shown is None or owner_of(shown.credentials, read_keys(self.file)) is None:
            detail = "this needs a known API key, as the header Authorization: Bearer KEY"
            raise Problem(401, detail, {"WWW-Authenticate": "Bearer"})


def make_app(study: str, keys_file: Path | None, generation: DeploymentHandle, diagnosis: DeploymentHandle) -> FastAPI:
    """The application of one replica of the gateway."""
    app = FastAPI(title="SynFundus", version=__version__, description=NOTICE)
    app.add_middleware(BodyLimit)
    speak_problems(app)
    _add_probes(app, generation, diagnosis)
    routes = APIRouter(prefix="/v1", dependencies=[Depends(KeyRing(keys_file))], responses=PROBLEMS)
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
                await asyncio.gather(generation.info.remote(), diagnosis.info.remote())
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
        openapi_extra={"requestBody": {"content": {"application/json": {"example": GENERATE_EXAMPLE}}}},
    )
    async def generate(request: GenerateRequest, accept: Annotated[str, Header()] = "*/*") -> Response:
        """As JSON; or, where `Accept: image/png` asks for it, one PNG with what belongs to it in headers."""
        as_png = accept.startswith("image/png")
        if as_png and request.n != 1:
            raise Problem(422, f"n is {request.n}, but one PNG holds one image; ask for n = 1, or for JSON")
        response = await _generate(request, generation, diagnosis)
        if as_png:
            return _as_png(response)
        return Response(response.model_dump_json(), media_type="application/json")


async def _generate(
    request: GenerateRequest, generation: DeploymentHandle, diagnosis: DeploymentHandle
) -> GenerateResponse:
    generator, annotator = await asyncio.gather(generation.info.remote(), diagnosis.info.remote())
    solver = request.solver_config(generator.usual_solver)
    condition = {name: request.condition.get(name) for name in LABEL_NAMES}
    (vector,) = encode_conditions([condition])
    seeds = request.seeds()
    pixels = _answered(await generation.draw.remote([RowRequest(vector, seed, solver) for seed in seeds]))
    images = [
        GeneratedImage(
            image=encode_image(pixels_HWC, "png", seed=seed, model=generator.digest),
            seed=seed,
            condition=condition,
            annotation=seen.annotation,
            probability=seen.probability,
        )
        for pixels_HWC, seed, seen in zip(pixels, seeds, await diagnosis.annotate.remote(pixels), strict=True)
    ]
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
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in ("image/jpeg", "image/png"):
        found = [await request.body()]
    elif media_type == "multipart/form-data":
        async with request.form(max_files=MAX_IMAGES) as form:
            found = [await part.read() for part in form.getlist("images") if isinstance(part, UploadFile)]
    elif media_type == "application/json":
        try:
            found = DiagnoseRequest.model_validate_json(await request.body()).images
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = "/".join(map(str, first["loc"]))
            raise Problem(422, f"#/{where}: {first['msg'].removeprefix('Value error, ')}") from error
    else:
        raise Problem(
            415, "send multipart/form-data with files named images, application/json, image/jpeg or image/png"
        )
    if not found:
        raise Problem(422, "no photograph; name the form's files images")
    return found
