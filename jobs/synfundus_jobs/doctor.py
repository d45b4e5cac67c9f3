"""`synfundus doctor [STUDY]`: what this machine has, and whether a study could run on it."""

import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from synfundus.environment import Environment
from synfundus.errors import AlreadyExistsError, StorageError, WrongInputError
from synfundus.stages.record import hardware, versions
from synfundus.storage import LocalStorage, Storage, open_storage
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
    on_s3 = study.root.startswith("s3://")
    storage = open_storage(study.root, create=not on_s3)  # a store is probed below, which tells its clock too
    said = _probe_folder(storage) if isinstance(storage, LocalStorage) else _probe_store(storage)
    key = "from SYNFUNDUS_PATIENT_KEY" if Environment().patient_key else f"in {Environment().config_folder}"
    return [("root", f"{storage.root}: {said}"), ("patient key", key)]


def _probe_store(storage: Storage) -> str:
    from synfundus.storage.s3 import MAX_CLOCK_SKEW_S, S3Storage, probe

    assert isinstance(storage, S3Storage)
    skew_s = probe(storage)
    if skew_s is not None and abs(skew_s) > MAX_CLOCK_SKEW_S:
        raise WrongInputError(f"root: the clock of {storage.root} differs by {skew_s:.0f} s; set this machine's")
    clock = "does not tell its time" if skew_s is None else f"clock within {abs(skew_s):.0f} s"
    return f"writable, honours the conditional PUT, {clock}"


def _probe_folder(storage: LocalStorage) -> str:
    """Try a real write-once object: the same bytes are welcome again, others are refused."""
    folder = storage.folder
    name = f"probe-{secrets.token_hex(4)}"
    try:
        storage.write_once(name, b"probe")
        storage.write_once(name, b"probe")
        _require_refusal(storage, name)
    finally:
        (folder / name).unlink(missing_ok=True)
    return f"writable, write-once holds, {shutil.disk_usage(folder).free / GIB:.0f} GiB free"


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
