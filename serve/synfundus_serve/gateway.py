"""`synfundus_serve.gateway:build`: the import path of the application on Ray Serve.

Annotations are evaluated here, on purpose: Ray Serve looks for the model of the arguments among them, and would hand
over a bare dict where they are strings.
"""

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import Field, model_validator
from ray import serve
from ray.serve import Application, Deployment
from ray.serve.handle import DeploymentHandle

from synfundus.config import Config
from synfundus.study import Study, load_study
from synfundus_serve.api_keys import read_keys
from synfundus_serve.diagnosis import DiagnosisReplica
from synfundus_serve.generation import MANY_REQUESTS, Generation
from synfundus_serve.routes import make_app

GENERATION_GPUS, DIAGNOSIS_GPUS = 0.8, 0.2
"""Where the study's models run on a GPU, a replica of each shares one."""


class Arguments(Config):
    """What is served, and to whom."""

    study: str
    """Path of the study's file; its generator and annotator are served."""
    overrides: tuple[str, ...] = ()
    """Settings on top of it, `a.b=c`."""
    keys_file: str | None = None
    """File of API keys, as `synfundus key` writes it."""
    without_keys: bool = False
    """Let everybody in; only where something else stands before this service."""
    max_row_steps: int = Field(default=20_000, ge=1)
    """Denoising steps of all images that may be under way in a replica; beyond, requests are answered with 429."""

    @model_validator(mode="after")
    def _keys_or_not(self) -> "Arguments":
        if self.without_keys == (self.keys_file is not None):
            raise ValueError("give keys_file, or say without_keys: true to let everybody in")
        return self


@serve.deployment(max_ongoing_requests=MANY_REQUESTS)
@serve.ingress()
class Gateway:
    """One replica of the HTTP interface."""

    def __init__(
        self, study: str, keys_file: Path | None, generation: DeploymentHandle, diagnosis: DeploymentHandle
    ) -> None:
        self._parts = (study, keys_file, generation, diagnosis)

    def __serve_build_asgi_app__(self) -> FastAPI:  # the name that `serve.ingress()` looks for
        return make_app(*self._parts)


def build(arguments: Arguments) -> Application:
    """The gateway before its two models.

    Raises:
        WrongInputError: the study or the file of keys is not as it should be.
    """
    study = load_study(Path(arguments.study), arguments.overrides)
    keys_file = None if arguments.keys_file is None else Path(arguments.keys_file)
    if keys_file is not None:
        read_keys(keys_file)
    return application(study, keys_file, arguments.max_row_steps)


def application(study: Study, keys_file: Path | None, max_row_steps: int) -> Application:
    """The three deployments."""
    on_gpu = study.samples.use_gpu
    generation = _deployment(Generation, GENERATION_GPUS if on_gpu else 0)
    diagnosis = _deployment(DiagnosisReplica, DIAGNOSIS_GPUS if on_gpu else 0)
    gateway = _deployment(Gateway, 0)
    return gateway.bind(study.name, keys_file, generation.bind(study, max_row_steps), diagnosis.bind(study))


def _deployment(decorated: Any, num_gpus: float) -> Deployment:
    """What `serve.deployment` made of a class; type checkers still see the class."""
    assert isinstance(decorated, Deployment)
    return decorated.options(ray_actor_options={"num_cpus": 1, "num_gpus": num_gpus})
