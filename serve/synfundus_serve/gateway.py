"""`synfundus_serve.gateway:build`: import path of the application on Ray Serve.

This module must not use `from __future__ import annotations`: Ray Serve reads the model of the arguments from the
annotation of `build`, and would pass a plain dict if that were a string.
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
from synfundus_serve.app import make_app
from synfundus_serve.diagnosis import Diagnosis
from synfundus_serve.edge.install import require_installed
from synfundus_serve.generation import MAX_ONGOING_REQUESTS, Generation


class Arguments(Config):
    """Arguments of the application: the study to serve, and the clients to admit."""

    study: str
    """Path of the study's file; the application serves its generator and annotator."""
    overrides: tuple[str, ...] = ()
    """Settings on top of the file, `a.b=c`."""
    keys_file: str | None = None
    """File of API keys, as `synfundus key` writes it."""
    without_keys: bool = False
    """Admit every request; use it only behind another service that authenticates clients."""
    max_row_steps: int = Field(default=20_000, ge=1)
    """Row-steps that may be outstanding in a replica; requests beyond it are answered with 429."""

    @model_validator(mode="after")
    def _keys_or_not(self) -> "Arguments":
        if self.without_keys == (self.keys_file is not None):
            raise ValueError("give either keys_file, or without_keys: true to admit every request")
        return self


@serve.deployment(max_ongoing_requests=MAX_ONGOING_REQUESTS)
@serve.ingress()
class Gateway:
    """One replica of the HTTP interface."""

    def __init__(
        self, study: str, keys_file: Path | None, generation: DeploymentHandle, diagnosis: DeploymentHandle
    ) -> None:
        require_installed()
        self._arguments = (study, keys_file, generation, diagnosis)

    def __serve_build_asgi_app__(self) -> FastAPI:  # the name that `serve.ingress()` looks for
        return make_app(*self._arguments)


def build(arguments: Arguments) -> Application:
    """Return the application: the gateway and its two models.

    Raises:
        WrongInputError: the study or the file of keys is not valid.
    """
    study = load_study(Path(arguments.study), arguments.overrides)
    keys_file = None if arguments.keys_file is None else Path(arguments.keys_file)
    if keys_file is not None:
        read_keys(keys_file)
    return application(study, keys_file, arguments.max_row_steps)


def application(study: Study, keys_file: Path | None, max_row_steps: int) -> Application:
    """Return the three deployments, bound to each other."""
    generation = _deployment(Generation, study.serving.generation.num_gpus)
    diagnosis = _deployment(Diagnosis, study.serving.diagnosis.num_gpus)
    gateway = _deployment(Gateway, 0)
    return gateway.bind(study.name, keys_file, generation.bind(study, max_row_steps), diagnosis.bind(study))


def _deployment(decorated: Any, num_gpus: float) -> Deployment:
    """Return a class decorated by `serve.deployment` as the Deployment that it is; type checkers see the class."""
    assert isinstance(decorated, Deployment)
    return decorated.options(ray_actor_options={"num_cpus": 1, "num_gpus": num_gpus})
