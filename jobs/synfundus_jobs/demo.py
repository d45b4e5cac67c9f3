"""`synfundus demo`: the whole loop on procedural phantoms, by the recipe `phantom-cpu`."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from synfundus.storage import open_storage
from synfundus.study import resolve
from synfundus_jobs.job import DONE, OneLineParser, guarded

STUDY = "recipe: phantom-cpu\nname: demo\nroot: {root}\n"


def main(argv: Sequence[str]) -> int:
    parser = OneLineParser(prog="synfundus demo", description=__doc__)
    parser.add_argument("--root", default="outputs/demo", help="where everything is written (outputs/demo)")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="a setting on top of the recipe")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args(argv)

    def body() -> int:
        from synfundus_jobs.pipeline import run_study

        study = resolve(STUDY.format(root=json.dumps(options.root)), "demo", Path.cwd(), options.set)
        run_study(study, open_storage(study.root))
        return DONE

    return guarded(body, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
