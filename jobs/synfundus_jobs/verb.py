"""Registration of verbs: each one has help, an example, the option `--debug`, and errors that become exit codes."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import typer

from synfundus_jobs.errors import guarded
from synfundus_jobs.options import Debug

Verb = Callable[..., None]
"""A function whose annotated parameters are the arguments and options of a verb."""


def add_verb(app: typer.Typer, name: str, verb: Verb, help: str, example: str, *, panel: str | None = None) -> None:
    """Register `verb` as a command of `app`.

    Args:
        name: the word on the command line.
        help: one line.
        example: arguments of a command that can be copied.
        panel: heading under which the list of verbs shows it.
    """
    epilog = f"Example: synfundus {example}"
    app.command(name, help=help, epilog=epilog, rich_help_panel=panel)(with_exit_codes(verb))


def with_exit_codes(verb: Verb) -> Callable[..., int]:
    """Return `verb` with the option `--debug`; it returns an exit code in place of raising an error."""

    @functools.wraps(verb)
    def guarded_verb(*, debug: bool, **options: Any) -> int:
        return guarded(lambda: verb(**options), debug=debug)

    options = [
        option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in inspect.signature(verb).parameters.values()
    ]
    debug = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Debug)
    guarded_verb.__signature__ = inspect.Signature([*options, debug])  # type: ignore[attr-defined]
    return guarded_verb
