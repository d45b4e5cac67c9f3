"""`synfundus doctor [STUDY]`: what this machine has, and whether a study could run on it."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from synfundus.errors import WrongInputError
from synfundus.runs import hardware, versions
from synfundus.settings import Settings
from synfundus.storage import open_storage, sha256_hex
from synfundus.study import Study, load_study
from synfundus_jobs.job import DONE, Rows, guarded, show_rows

GIB = 2**30


def machine_rows() -> Rows:
    found = hardware()
    return [
        ("processor", f"{found['cpu']}, {found['num_cpus']} cores"),
        ("GPU", ", ".join(found["gpus"]) or "none; everything runs on the processor"),
        *((name, version) for name, version in versions().items()),
    ]


def study_rows(study: Study) -> Rows:
    """Probe the root with a real write-once object, written twice."""
    storage = open_storage(study.root)
    folder = Path(storage.uri("."))
    name = f"probe/{sha256_hex(study.name.encode())[:8]}"
    storage.write_once(name, b"probe")
    storage.write_once(name, b"probe")
    (folder / name).unlink()
    free = shutil.disk_usage(folder).free / GIB
    key = "from SYNFUNDUS_PATIENT_KEY" if Settings().patient_key else f"in {Settings().config_folder}"
    return [
        ("root", f"{storage.root}: writable, write-once holds, {free:.0f} GiB free"),
        ("patient key", key),
    ]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="synfundus doctor", description=__doc__)
    parser.add_argument("study", type=Path, nargs="?", metavar="STUDY")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args(argv)

    def body() -> int:
        show_rows("machine", machine_rows())
        if options.study is not None:
            if not options.study.exists():
                raise WrongInputError(f"no study {options.study}; `synfundus study init {options.study}` writes one")
            show_rows("study", study_rows(load_study(options.study)))
        return DONE

    return guarded(body, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
