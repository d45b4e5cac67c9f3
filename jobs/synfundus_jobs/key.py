"""`synfundus key`: make an API key for the endpoints."""

from pathlib import Path
from typing import Annotated

import typer

from synfundus_jobs import screen
from synfundus_serve.api_keys import new_key

KeysFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="File of names and SHA-256 of all keys; made if absent.", show_default=False),
]
KeyName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the key's owner.", show_default=False)]


def key(file: KeysFile, name: KeyName) -> None:
    screen.write(f"{new_key(file, name)}\n")
