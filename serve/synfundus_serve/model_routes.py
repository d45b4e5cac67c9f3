"""`GET /v1/labels` and `GET /v1/models`: the labels and the models that answer."""

import asyncio

from fastapi import APIRouter, Depends
from ray.serve.handle import DeploymentHandle

from synfundus import __version__
from synfundus.labels import LABELS
from synfundus_serve.messages import LabelInfo, LabelsResponse, ModelsResponse
from synfundus_serve.negotiation import accepted_type

JSON_ONLY = Depends(accepted_type("application/json"))


def add_labels(routes: APIRouter, diagnosis: DeploymentHandle) -> None:
    """Add the route that lists the labels."""

    @routes.get("/labels", summary="Labels: values, and whether the annotator predicts them", dependencies=[JSON_ONLY])
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


def add_models(routes: APIRouter, study: str, generation: DeploymentHandle, diagnosis: DeploymentHandle) -> None:
    """Add the route that describes the two models."""

    @routes.get("/models", summary="The generator and the annotator in use", dependencies=[JSON_ONLY])
    async def models() -> ModelsResponse:
        generator, annotator = await asyncio.gather(generation.info.remote(), diagnosis.info.remote())
        return ModelsResponse(study=study, version=__version__, generator=generator, annotator=annotator)
