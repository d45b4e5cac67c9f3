"""`synfundus doctor [STUDY]`: what this machine has, and whether a study could run on it."""

import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from synfundus.errors import AlreadyExistsError, StorageError
from synfundus.runs import hardware, versions
from synfundus.settings import Settings
from synfundus.storage import Storage, open_storage
from synfundus.study import Study, load_study
from synfundus_jobs.job import DONE, OneLineParser, Rows, guarded, show_rows

GIB = 2**30


def machine_rows() -> Rows:
    found = hardware()
    return [
        ("processor", f"{found['cpu']}, {found['num_cpus']} cores"),
        ("GPU", ", ".join(found["gpus"]) or "none; everything runs on the processor"),
        *((name, version) for name, version in versions().items()),
    ]


def study_rows(study: Study) -> Rows:
    """Probe the root with a real write-once object: the same bytes are welcome again, others are refused."""
    storage = open_storage(study.root)
    folder = Path(storage.uri("."))
    name = f"probe-{secrets.token_hex(4)}"
    try:
        storage.write_once(name, b"probe")
        storage.write_once(name, b"probe")
        _require_refusal(storage, name)
    finally:
        (folder / name).unlink(missing_ok=True)
    free = shutil.disk_usage(folder).free / GIB
    key = "from SYNFUNDUS_PATIENT_KEY" if Settings().patient_key else f"in {Settings().config_folder}"
    return [
        ("root", f"{storage.root}: writable, write-once holds, {free:.0f} GiB free"),
        ("patient key", key),
    ]


def _require_refusal(storage: Storage, name: str) -> None:
    try:
        storage.write_once(name, b"other")
    except AlreadyExistsError:
        return
    raise StorageError(f"{storage.root} overwrites what is written once; choose a root on another file system")


def main(argv: Sequence[str]) -> int:
    parser = OneLineParser(prog="synfundus doctor", description=__doc__)
    parser.add_argument("study", type=Path, nargs="?", metavar="STUDY")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="a setting on top of the file")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args(argv)

    def body() -> int:
        study = load_study(options.study, options.set) if options.study is not None else None
        rows = study_rows(study) if study else []
        show_rows("machine", machine_rows())
        if study:
            show_rows("study", rows)
        return DONE

    return guarded(body, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
