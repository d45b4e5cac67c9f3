"""`synfundus doctor`: what this machine has, and whether a study could write to its root."""

import secrets
import shutil
from pathlib import Path
from typing import Annotated

import typer

from synfundus.environment import Environment
from synfundus.errors import AlreadyExistsError, StorageError, WrongInputError
from synfundus.stages.record import hardware, versions
from synfundus.stages.stage import Rows
from synfundus.storage import LocalStorage, Storage, open_storage
from synfundus.study import Study, load_study
from synfundus_jobs.options import Overrides
from synfundus_jobs.screen import show_rows

GIB = 2**30
OptionalStudyFile = Annotated[
    Path | None,
    typer.Argument(metavar="STUDY", help="YAML file of a study whose root is tried.", show_default=False),
]


def doctor(overrides: Overrides, study: OptionalStudyFile = None) -> None:
    loaded = load_study(study, overrides) if study is not None else None
    rows = study_rows(loaded) if loaded else []
    show_rows("machine", machine_rows())
    if loaded:
        show_rows("study", rows)


def machine_rows() -> Rows:
    """Return the hardware and the versions that this process runs on."""
    found = hardware()
    return [
        ("CPU", f"{found.cpu}, {found.num_cpus} cores"),
        ("GPU", ", ".join(found.gpus) or "none; everything runs on the CPU"),
        *((name, version) for name, version in versions().items()),
    ]


def study_rows(study: Study) -> Rows:
    """Return the outcome of a trial write below the root, and where the patient key comes from."""
    on_s3 = study.root.startswith("s3://")
    storage = open_storage(study.root, create=not on_s3)  # the probe below makes the first request to a store
    outcome = _probe_folder(storage) if isinstance(storage, LocalStorage) else _probe_store(storage)
    environment = Environment()
    file = environment.patient_key_file or environment.config_folder
    key = "from SYNFUNDUS_PATIENT_KEY" if environment.patient_key else f"in {file}"
    return [("root", f"{storage.root}: {outcome}"), ("patient key", key)]


def _probe_store(storage: Storage) -> str:
    """Try a store with two conditional PUTs, the second of which must be refused, and compare its clock."""
    from synfundus.storage.s3 import MAX_CLOCK_SKEW_S, S3Storage, probe

    assert isinstance(storage, S3Storage)
    skew_s = probe(storage)
    if skew_s is not None and abs(skew_s) > MAX_CLOCK_SKEW_S:
        raise WrongInputError(f"root: the clock of {storage.root} differs by {skew_s:.0f} s; set this machine's clock")
    clock = "its answers carry no time" if skew_s is None else f"clock within {abs(skew_s):.0f} s"
    return f"writable, honours the conditional PUT, {clock}"


def _probe_folder(storage: LocalStorage) -> str:
    """Write an object twice with the same bytes, which succeeds, then with others, which must be refused."""
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
    raise StorageError(f"{storage.root} overwrites write-once objects; choose a root on another file system")
