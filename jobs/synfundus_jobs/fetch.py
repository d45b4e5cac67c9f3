"""`synfundus fetch STUDY`: copy the study's report to this machine, each file checked against its manifest."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from synfundus.errors import WrongInputError
from synfundus.storage import Storage, open_storage, read_manifest, read_trusted
from synfundus.study import Study, load_study
from synfundus_jobs.job import DONE, OneLineParser, guarded


def parser() -> argparse.ArgumentParser:
    out = OneLineParser(prog="synfundus fetch", description=__doc__)
    out.add_argument("study", type=Path, metavar="STUDY", help="the study's YAML file")
    out.add_argument("--set", action="append", default=[], metavar="A.B=C", help="a setting on top of the file")
    out.add_argument("--to", type=Path, metavar="FOLDER", help="where to (default: report-NAME)")
    out.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return out


def fetch(study: Study, storage: Storage, folder: Path) -> Path:
    """Copies the report; returns the page to open.

    Raises:
        WrongInputError: no report yet, or `folder` cannot be written.
        StorageError: a file differs from the manifest, or would lie outside `folder`; it is not written.
    """
    manifest = read_manifest(storage, study.report_folder)
    for name in manifest["files"]:
        data = read_trusted(storage, study.report_folder, name, manifest)
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        except OSError as error:
            raise WrongInputError(f"cannot write {target} ({error.strerror}); name another folder by --to") from error
    return folder / "index.html"


def main(argv: Sequence[str]) -> int:
    options = parser().parse_args(argv)

    def body() -> int:
        study = load_study(options.study, options.set)
        page = fetch(study, open_storage(study.root, create=False), options.to or Path(f"report-{study.name}"))
        sys.stdout.write(f"open {page} (private: it may show photographs)\n")
        return DONE

    return guarded(body, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
