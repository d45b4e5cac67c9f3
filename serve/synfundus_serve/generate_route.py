"""`POST /v1/generate`: from a requested condition to samples, as JSON or as one PNG."""

import asyncio
import json
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from ray.serve.handle import DeploymentHandle

from synfundus.diffusion.engine import RowRequest
from synfundus.labels import LABEL_NAMES, encode_conditions
from synfundus.samples.image_file import encode_image
from synfundus_serve.bodies import media_type_of, parse_json
from synfundus_serve.generation import Generated
from synfundus_serve.messages import BINARY, GENERATE_EXAMPLE, GeneratedImage, GenerateRequest, GenerateResponse
from synfundus_serve.negotiation import accepted_type
from synfundus_serve.problems import Problem, require_result

JSON, PNG = "application/json", "image/png"
REQUEST_BODY = {
    "content": {"application/json": {"schema": GenerateRequest.model_json_schema(), "example": GENERATE_EXAMPLE}}
}
"""OpenAPI description of the body, which the route parses itself."""


def add_generate(routes: APIRouter, generation: DeploymentHandle, diagnosis: DeploymentHandle) -> None:
    """Add the route."""

    @routes.post(
        "/generate",
        summary="Generate synthetic images",
        response_model=GenerateResponse,
        responses={200: {"content": {"image/png": BINARY}}},
        openapi_extra={"requestBody": REQUEST_BODY},
    )
    async def generate(request: Request, media_type: Annotated[str, Depends(accepted_type(JSON, PNG))]) -> Response:
        """Answer with JSON; with `Accept: image/png`, with one PNG and its metadata in headers."""
        if media_type_of(request) not in ("", JSON):
            raise Problem(415, "media type not supported; send application/json")
        body, as_png = await parse_json(GenerateRequest, request), media_type == PNG
        if as_png and body.n != 1:
            raise Problem(422, f"n is {body.n}, but a PNG holds one image; set n to 1, or accept application/json")
        response = await _generate(body, generation, diagnosis)
        if as_png:
            return _png_response(response)
        # In a thread, because base64 of the images takes long enough to delay other requests.
        return Response(await asyncio.to_thread(response.model_dump_json), media_type=JSON)


async def _generate(
    request: GenerateRequest, generation: DeploymentHandle, diagnosis: DeploymentHandle
) -> GenerateResponse:
    """Sample the requested images and annotate them."""
    generator, annotator = await asyncio.gather(generation.info.remote(), diagnosis.info.remote())
    solver = request.solver_config(generator.usual_solver)
    condition = {name: request.condition.get(name) for name in LABEL_NAMES}
    (vector,) = encode_conditions([condition])
    seeds = request.seeds()
    rows = [RowRequest(vector, seed, solver) for seed in seeds]
    generated: Generated = require_result(await generation.sample.remote(rows))
    predictions = await diagnosis.annotate.remote(generated.pixels_NHWC)

    def encode() -> list[GeneratedImage]:
        return [
            GeneratedImage(
                image=None if is_copy else encode_image(pixels_HWC, "png", seed=seed, model=generator.digest),
                withheld="near_training_image" if is_copy else None,
                seed=seed,
                condition=condition,
                annotation=prediction.annotation,
                probability=prediction.probability,
            )
            for pixels_HWC, is_copy, seed, prediction in zip(
                generated.pixels_NHWC, generated.is_copy_N.tolist(), seeds, predictions, strict=True
            )
        ]

    images = await asyncio.to_thread(encode)  # in a thread, so that the event loop can answer other requests
    return GenerateResponse(model=generator.digest, annotator=annotator.digest, solver=solver, images=images)


def _png_response(response: GenerateResponse) -> Response:
    """Return the one image of `response` as a PNG, with its metadata in headers."""
    (generated,) = response.images
    if generated.image is None:
        raise Problem(
            422, f"seed {generated.seed}: the image lies too near to a training photograph; choose another seed"
        )
    headers = {
        "SynFundus-Notice": response.notice,
        "SynFundus-Seed": str(generated.seed),
        "SynFundus-Model": response.model,
        "SynFundus-Condition": json.dumps(generated.condition),
        "SynFundus-Annotation": json.dumps(generated.annotation),
    }
    return Response(generated.image, media_type=PNG, headers=headers)
