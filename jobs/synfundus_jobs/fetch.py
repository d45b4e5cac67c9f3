"""`synfundus fetch`: copy the report of a study to this machine."""

from pathlib import Path
from typing import Annotated

import typer

from synfundus.errors import WrongInputError
from synfundus.evaluation.manifest import PRIVATE, ReportManifest
from synfundus.storage import Storage, open_storage, read_manifest, read_trusted
from synfundus.study import Study, load_study
from synfundus_jobs import screen
from synfundus_jobs.options import Overrides, StudyFile

Target = Annotated[
    Path | None,
    typer.Option("--to", metavar="FOLDER", help="Folder to write (default: report-NAME).", show_default=False),
]


def fetch(study: StudyFile, overrides: Overrides, to: Target = None) -> None:
    loaded = load_study(study, overrides)
    page = copy_report(loaded, open_storage(loaded.root, create=False), to or Path(f"report-{loaded.name}"))
    screen.write(f"open {page} (private: it may show photographs)\n")


def copy_report(study: Study, storage: Storage, folder: Path) -> Path:
    """Copy the report into `folder` and return the page to open.

    Raises:
        WrongInputError: the report is not complete, or `folder` cannot be written.
        StorageError: a file differs from the manifest, or would lie outside `folder`; it is not written.
    """
    manifest = read_manifest(storage, study.report_folder, ReportManifest)
    for name in manifest.files:
        data = read_trusted(storage, study.report_folder, name, manifest)
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        except OSError as error:
            raise WrongInputError(
                f"{target}: cannot be written ({error.strerror}); name another folder by --to"
            ) from error
    return folder / PRIVATE
