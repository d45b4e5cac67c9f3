"""`POST /v1/diagnose`: from photographs to calibrated predictions."""

from fastapi import APIRouter, Depends, Request
from ray.serve.handle import DeploymentHandle

from synfundus_serve.bodies import read_uploads
from synfundus_serve.messages import BINARY, DIAGNOSE_EXAMPLE, DiagnoseRequest, DiagnoseResponse
from synfundus_serve.negotiation import accepted_type
from synfundus_serve.problems import require_result

REQUEST_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["images"],
                "properties": {"images": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            }
        },
        "application/json": {"schema": DiagnoseRequest.model_json_schema(), "example": DIAGNOSE_EXAMPLE},
        "image/jpeg": BINARY,
        "image/png": BINARY,
    },
}
"""OpenAPI description of the body, which the route parses itself."""


def add_diagnose(routes: APIRouter, diagnosis: DeploymentHandle) -> None:
    """Add the route."""

    @routes.post(
        "/diagnose",
        summary="Diagnose photographs",
        openapi_extra={"requestBody": REQUEST_BODY},
        dependencies=[Depends(accepted_type("application/json"))],
    )
    async def diagnose(request: Request) -> DiagnoseResponse:
        photographs = await read_uploads(request)
        info = await diagnosis.info.remote()
        images = require_result(await diagnosis.diagnose.remote(photographs))
        return DiagnoseResponse(annotator=info.digest, images=images)
