"""Standard output: lines and tables. A reader that closes the pipe early, such as `head`, is not an error."""

import os
import sys

from synfundus.stages.stage import Rows

PLAIN_WIDTH = 100_000
"""Columns off a terminal, so that no line is broken."""


def write(text: str) -> None:
    """Write to standard output at once; drop this and all later output once the reader has closed the pipe."""
    write_bytes(text.encode(sys.stdout.encoding, errors="replace"))


def write_bytes(data: bytes) -> bool:
    """Write to standard output at once. Return whether the pipe still has a reader."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Python flushes what is left in the buffer at its end; on the closed pipe that would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def show_rows(title: str, rows: Rows) -> None:
    """Write a table of names and values. Off a terminal, lines are not wrapped."""
    from rich.console import Console  # takes 0.1 s to import, and help and completion show no table
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(f"  {name}", value)
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    console = Console(highlight=False, markup=False, soft_wrap=True, width=width)
    with console.capture() as captured:
        console.print(table)
    # Rich pads every line with spaces to the width of the longest.
    write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
