"""`synfundus demo`: the whole loop on procedural phantoms, by the study file `studies/demo.yaml`."""

import shlex
from pathlib import Path
from typing import Annotated, Final

import typer
import yaml

from synfundus.errors import WrongInputError
from synfundus.storage import open_storage
from synfundus.study import load_study
from synfundus_jobs import screen
from synfundus_jobs.options import Overrides
from synfundus_jobs.stages import run_study

FILE: Final = Path("studies/demo.yaml")
"""In a checkout this file exists; elsewhere the demo writes it."""
STUDY: Final = """\
# The demo: the whole loop on 3,000 procedural phantoms. `synfundus demo` runs it in about 15 minutes on two CPU cores.
version: 1
recipe: phantom-cpu
name: demo
root: ../outputs/demo
"""
Root = Annotated[
    str | None,
    typer.Option(
        "--root",
        metavar="ROOT",
        help="Folder or s3://bucket/prefix to write (default: outputs/demo).",
        show_default=False,
    ),
]


def demo(overrides: Overrides, root: Root = None) -> None:
    _write_if_absent(FILE)
    given = overrides if root is None else [f"root={_yaml(_absolute(root))}", *overrides]
    study = load_study(FILE, given)
    run_study(study, open_storage(study.root))
    command = shlex.join(["synfundus", "serve", str(FILE), *(part for setting in given for part in ("--set", setting))])
    screen.show_rows("next", [("study file", str(FILE)), ("serve both models", command)])


def _write_if_absent(file: Path) -> None:
    """Write the demo's study file unless it exists."""
    if file.exists():
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(STUDY, encoding="utf-8")
    except OSError as error:
        raise WrongInputError(
            f"{file}: cannot be written ({error.strerror}); change to a folder of your own"
        ) from error


def _absolute(root: str) -> str:
    """Return a root of the command line, which is relative to the working directory, in a form for `--set`."""
    return root if not root or "://" in root else str(Path(root).absolute())


def _yaml(text: str) -> str:
    """Return `text` as a YAML scalar on one line, quoted if it needs to be."""
    return yaml.safe_dump(text, width=float("inf"), allow_unicode=True).removesuffix("...\n").rstrip("\n")
