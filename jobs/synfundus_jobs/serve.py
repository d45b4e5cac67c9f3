"""`synfundus serve`: the generation and diagnosis endpoints on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from synfundus.errors import WrongInputError
from synfundus_jobs.options import Overrides, StudyFile
from synfundus_serve.local import serve_study

Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")]
Port = Annotated[int, typer.Option("--port", metavar="PORT", help="Port to listen on.")]
AdmittedKeys = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        help="API keys to admit, made by `synfundus key FILE NAME` (default: one key made for this run).",
        show_default=False,
    ),
]
WithoutKeys = Annotated[bool, typer.Option("--without-keys", help="Admit every request.")]


def serve(
    study: StudyFile,
    overrides: Overrides,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    keys: AdmittedKeys = None,
    without_keys: WithoutKeys = False,
) -> None:
    if keys is not None and without_keys:
        raise WrongInputError("--keys and --without-keys: cannot be used together; give one of them")
    serve_study(study, overrides, host, port, keys, without_keys=without_keys)
