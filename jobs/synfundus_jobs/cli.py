"""The entry points of the command line: `main` for a call in this process, `run` for the console script."""

import os
import sys
from collections.abc import Sequence

from synfundus_jobs.exit_codes import DONE, FAILED, INTERRUPTED, WRONG_INPUT


def main(argv: Sequence[str]) -> int:
    """Run `synfundus` with these arguments and return the exit code."""
    import typer  # imported here, so that `run` handles a Ctrl-C during the import

    from synfundus_jobs.app import app
    from synfundus_jobs.errors import error_line, usage_line

    command = typer.main.get_command(app)
    try:
        code = command.main(args=list(argv) or ["--help"], prog_name="synfundus", standalone_mode=False)
    except typer.TyperException as error:
        sys.stderr.write(usage_line(error))
        return WRONG_INPUT
    except SystemExit as end:  # raised by shell completion, or when the reader of the help has closed the pipe
        return DONE if isinstance(end.__context__, BrokenPipeError) else int(end.code or 0)
    except OSError as error:  # help or version cannot be written, for example on a full disk
        sys.stderr.write(error_line(error))
        return FAILED
    return int(code or 0) if argv else WRONG_INPUT


def run() -> None:
    """Run the console script. A verb handles Ctrl-C itself; this function handles one during the imports."""
    _open_closed_streams()
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("interrupted before anything was begun\n")
        code = INTERRUPTED
    sys.exit(code)


def _open_closed_streams() -> None:
    """Open the null device in place of each standard stream that is closed (`>&-`).

    Otherwise the next file that is opened gets the stream's number, and receives what native code prints.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
