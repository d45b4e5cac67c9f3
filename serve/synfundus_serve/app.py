"""The HTTP application: middleware, probes, and the routes under `/v1`. Ray Serve's handles lead to the models."""

import asyncio
from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from ray.serve.handle import DeploymentHandle

from synfundus import __version__
from synfundus_serve.authentication import Authentication
from synfundus_serve.bodies import MAX_BODY_BYTES, MAX_PHOTOGRAPHS_BYTES
from synfundus_serve.body_limit import BodyLimit
from synfundus_serve.diagnose_route import add_diagnose
from synfundus_serve.generate_route import add_generate
from synfundus_serve.messages import NOTICE
from synfundus_serve.model_routes import add_labels, add_models
from synfundus_serve.problems import MEDIA_TYPE, add_problem_handlers, problem, problem_response
from synfundus_serve.unread import refuse_encoding, refuse_query

READY_TIMEOUT_S = 5.0
PROBLEMS: dict[int, str] = {
    401: "API key missing or unknown.",
    406: "No media type of Accept can be sent.",
    413: "Body or image too large.",
    415: "Media type not supported.",
    422: "Request that can never be served.",
    429: "Too many images under way; Retry-After holds the seconds to wait.",
    503: "A model does not answer at present.",
}
"""Error status -> meaning, in the interface's description."""


def make_app(study: str, keys_file: Path | None, generation: DeploymentHandle, diagnosis: DeploymentHandle) -> FastAPI:
    """Return the application of one replica of the gateway; without a file of keys it admits every request."""
    app = FastAPI(title="SynFundus", version=__version__, description=NOTICE, redirect_slashes=False)
    limits = {"/v1/diagnose": MAX_PHOTOGRAPHS_BYTES}
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES, max_bytes_by_path=limits)
    if keys_file is not None:
        app.add_middleware(Authentication, keys_file=keys_file)  # the middleware added last runs first
    add_problem_handlers(app)
    _add_probes(app, generation, diagnosis)
    described = Depends(HTTPBearer(auto_error=False))  # describes the key in OpenAPI; Authentication checks it
    routes = APIRouter(
        prefix="/v1",
        dependencies=[described, Depends(refuse_query), Depends(refuse_encoding)],
        responses={
            status: {"description": text, "content": {MEDIA_TYPE: {"example": problem(status, text)}}}
            for status, text in PROBLEMS.items()
        },
    )
    add_generate(routes, generation, diagnosis)
    add_diagnose(routes, diagnosis)
    add_labels(routes, diagnosis)
    add_models(routes, study, generation, diagnosis)
    app.include_router(routes)
    return app


def _add_probes(app: FastAPI, generation: DeploymentHandle, diagnosis: DeploymentHandle) -> None:
    """Add the probes of liveness and readiness."""

    @app.get("/healthz", summary="Liveness of the gateway")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", summary="Readiness of both models", responses={503: {"content": {MEDIA_TYPE: {}}}})
    async def readyz() -> Response:
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await asyncio.gather(generation.require_working.remote(), diagnosis.info.remote())
        except Exception as error:  # every failure means: not ready yet
            return problem_response(503, f"the models do not answer ({type(error).__name__})")
        return JSONResponse({"status": "ready"})
