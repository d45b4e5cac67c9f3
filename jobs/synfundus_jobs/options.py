"""Arguments and options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="YAML file of the study.", show_default=False)]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="A.B=C",
        default_factory=list,
        help="Override a setting of the file, such as generator.num_steps=500. Repeatable.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, with counts and bytes. Do nothing.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
