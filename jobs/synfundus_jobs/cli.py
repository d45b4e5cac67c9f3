"""The entry points of the command line: `main` for a call in this process, `run` for the console script."""

import sys
from collections.abc import Sequence

from synfundus_jobs.exit_codes import DONE, INTERRUPTED, WRONG_INPUT


def main(argv: Sequence[str]) -> int:
    """Run `synfundus` with these arguments and return the exit code."""
    import typer  # imported here, so that `run` handles a Ctrl-C during the import

    from synfundus_jobs.app import app
    from synfundus_jobs.errors import usage_line

    command = typer.main.get_command(app)
    try:
        code = command.main(args=list(argv) or ["--help"], prog_name="synfundus", standalone_mode=False)
    except typer.TyperException as error:
        sys.stderr.write(usage_line(error))
        return WRONG_INPUT
    except SystemExit as end:  # raised by shell completion, or when the reader of the help has closed the pipe
        return DONE if isinstance(end.__context__, BrokenPipeError) else int(end.code or 0)
    return int(code or 0) if argv else WRONG_INPUT


def run() -> None:
    """Run the console script. A verb handles Ctrl-C itself; this function handles one during the imports."""
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("interrupted before anything was begun\n")
        code = INTERRUPTED
    sys.exit(code)
