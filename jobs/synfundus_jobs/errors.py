"""The one place where an error becomes one line on standard error and an exit code."""

import sys
import traceback
from collections.abc import Callable
from typing import Final

import typer

from synfundus.errors import SynfundusError, WrongInputError
from synfundus.storage import FULL_DISK
from synfundus_jobs.exit_codes import DONE, FAILED, INTERRUPTED, WRONG_INPUT

MAX_REASON_CHARS: Final = 500
"""Longest text of an error that is not ours; Ray's hold whole tracebacks."""


def guarded(body: Callable[[], None], *, debug: bool) -> int:
    """Run `body` and return its exit code. An error becomes one line; `debug` shows its traceback first."""
    try:
        body()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on where this one stopped\n")
        return INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        sys.stderr.write(error_line(error))
        return WRONG_INPUT if isinstance(error, WrongInputError) else FAILED
    return DONE


def error_line(error: Exception) -> str:
    """Return an error as one line: what is wrong and what to do about it."""
    return f"error: {_reason(error)}\n"


def _reason(error: Exception) -> str:
    reason = " ".join(str(error).split())
    if isinstance(error, SynfundusError):
        return reason
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        place = f" ({error.filename})" if error.filename else ""
        return f"disk full{place}; free some space and run the same command again"
    named = f"{type(error).__name__}: {reason[:MAX_REASON_CHARS]}"
    if isinstance(error, OSError):
        return named
    return f"{named} (a defect of synfundus; run again with --debug and report the traceback)"


def usage_line(error: typer.TyperException) -> str:
    """Return a mistake on the command line as one line: the command, what is wrong, where the options are listed."""
    message = " ".join(error.format_message().split()).removesuffix(".")
    message = message[:1].lower() + message[1:].replace(". Did you mean", "; did you mean")
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "synfundus"
    lists = f"`{command} --help`" if context else "the verb's --help"
    hint = "" if message.endswith("?") else f"; {lists} lists what it takes"
    return f"error: {command}: {message}{hint}\n"
