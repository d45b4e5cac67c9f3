"""`synfundus key FILE NAME`: make an API key for the endpoints; its hash is added to FILE, the key is shown once."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from synfundus_jobs.job import DONE, OneLineParser, guarded
from synfundus_serve.api_keys import new_key


def parser() -> argparse.ArgumentParser:
    out = OneLineParser(prog="synfundus key", description=__doc__)
    out.add_argument("file", type=Path, metavar="FILE", help="names and hashes of all keys; made where it is not there")
    out.add_argument("name", metavar="NAME", help="whose key it is")
    out.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return out


def main(argv: Sequence[str]) -> int:
    options = parser().parse_args(argv)

    def body() -> int:
        sys.stdout.write(new_key(options.file, options.name) + "\n")
        return DONE

    return guarded(body, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
