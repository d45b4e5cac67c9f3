"""`synfundus study init|show|check|run FILE`: write a first study, print it resolved, check it, run all its stages."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from synfundus.errors import WrongInputError
from synfundus.storage import open_storage, read_manifest
from synfundus.study import SCHEMA_VERSION, load_study, read_recipe, recipe_names, show
from synfundus_jobs.job import DONE, OneLineParser, guarded

TEMPLATE = """\
# A study of your own photographs. `synfundus study show {file}` prints every setting with what the recipe adds.
version: {version}
recipe: {recipe}
name: {name}
root: outputs
data:
  sources:
    - layout: folder
      path: photographs            # the folder of the CSV and the images
      csv: labels.csv
      image_column: file_name
      patient_column: patient_id   # leave out if there is none: then an image counts as a patient
release:
  data_statement: On whose photographs the generator is trained (institution, country, cameras, years).
"""


def parser() -> argparse.ArgumentParser:
    top = OneLineParser(prog="synfundus study", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True)
    for verb, text in (
        ("init", "write a first study file"),
        ("show", "print the study with everything its recipe adds"),
        ("check", "read the study and its sources, and say what is wrong"),
        ("run", "run every stage; go on where an earlier run stopped"),
    ):
        sub = verbs.add_parser(verb, help=text)
        sub.add_argument("file", type=Path, metavar="FILE")
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if verb == "init":
            sub.add_argument("--recipe", default="real-64", help=f"one of {', '.join(recipe_names())}")
        else:
            sub.add_argument("--set", action="append", default=[], metavar="A.B=C", help="a setting on top of the file")
        if verb == "run":
            sub.add_argument("--dry-run", action="store_true", help="say what each stage would do")
    return top


def init(file: Path, recipe: str) -> int:
    read_recipe(recipe)
    if file.exists():
        raise WrongInputError(f"{file} exists; choose another name")
    name = re.sub("[^a-z0-9]+", "-", file.stem.lower())[:63].strip("-") or "study"
    try:
        file.write_text(TEMPLATE.format(file=file, version=SCHEMA_VERSION, recipe=recipe, name=name), encoding="utf-8")
    except OSError as error:
        raise WrongInputError(f"cannot write {file} ({error.strerror})") from error
    sys.stdout.write(f"wrote {file}; set path, csv and columns, then: synfundus study check {file}\n")
    return DONE


def check(file: Path, overrides: list[str]) -> int:
    """Everything that can be known before a stage runs."""
    from synfundus.fundus.sources import list_source
    from synfundus_jobs.pipeline import require_feasible

    study = load_study(file, overrides)
    storage = open_storage(study.root, create=False)
    require_feasible(study, storage)
    for source in study.data.sources:
        listing = list_source(source)
        patients = "patients known" if listing.has_patients else "no patient column: an image counts as a patient"
        sys.stdout.write(
            f"{source.layout}: {len(listing.records)} images, {len(listing.rows_without_image)} rows without image,"
            f" {len(listing.images_without_row)} images without row, {patients}\n"
        )
    if study.data.prepared is not None:
        sys.stdout.write(
            f"prepared elsewhere: {sum(read_manifest(storage, study.data_folder)['num_images'].values())} images\n"
        )
    sys.stdout.write(f"study {study.name} is sound; it would write below {storage.root}\n")
    return DONE


def run(file: Path, overrides: list[str], *, dry_run: bool) -> int:
    from synfundus_jobs.job import show_rows
    from synfundus_jobs.pipeline import STAGES, require_feasible, run_study

    study = load_study(file, overrides)
    storage = open_storage(study.root, create=not dry_run)
    if not dry_run:
        run_study(study, storage)
        return DONE
    require_feasible(study, storage)
    for job in STAGES:
        try:
            show_rows(f"{job.verb} would", job.describe(study, storage))
        except WrongInputError as error:
            show_rows(f"{job.verb} would", [("later", str(error))])
    return DONE


def main(argv: Sequence[str]) -> int:
    options = parser().parse_args(argv)

    def body() -> int:
        if options.verb == "init":
            return init(options.file, options.recipe)
        if options.verb == "show":
            sys.stdout.write(show(load_study(options.file, options.set)))
            return DONE
        if options.verb == "check":
            return check(options.file, options.set)
        return run(options.file, options.set, dry_run=options.dry_run)

    return guarded(body, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
