"""`synfundus study`: write a first study file, show it resolved, check it, run all its stages."""

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from synfundus.errors import WrongInputError
from synfundus.fundus.listing_summary import source_rows
from synfundus.fundus.manifest import DataManifest
from synfundus.fundus.sources import SourceConfig, list_source
from synfundus.stages import stages_of
from synfundus.stages.prepare import Listings, PrepareStage
from synfundus.stages.stage import check_stages
from synfundus.storage import open_storage, read_manifest
from synfundus.study import SCHEMA_VERSION, load_study, read_recipe, recipe_names, show
from synfundus_jobs import screen
from synfundus_jobs.options import DryRun, Overrides, StudyFile
from synfundus_jobs.stages import describe, run_study

TEMPLATE = """\
# A study of your own photographs. `synfundus study show FILE` prints every setting with what the recipe adds.
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
      patient_column: patient_id   # optional; without it each image counts as a patient
release:
  date_published: {today}   # date of the release; a setting, so that the same study gives the same bytes
  data_statement: Photographs on which the generator is trained (institution, country, cameras, years).
"""
NewFile = Annotated[Path, typer.Argument(metavar="FILE", help="File to write.", show_default=False)]
RecipeName = Annotated[str, typer.Option("--recipe", metavar="NAME", help=f"One of {', '.join(recipe_names())}.")]


def init(file: NewFile, recipe: RecipeName = "real-64") -> None:
    read_recipe(recipe)
    name = re.sub("[^a-z0-9]+", "-", file.stem.lower())[:63].strip("-") or "study"
    text = TEMPLATE.format(version=SCHEMA_VERSION, recipe=recipe, name=name, today=datetime.now(UTC).date())
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError as error:
        raise WrongInputError(f"{file} exists; choose another name") from error
    except OSError as error:
        raise WrongInputError(f"{file}: cannot be written ({error.strerror}); choose another folder") from error
    screen.write(f"wrote {file}; set path, csv and columns, then: synfundus study check {shlex.quote(str(file))}\n")


def show_resolved(study: StudyFile, overrides: Overrides) -> None:
    screen.write(show(load_study(study, overrides)))


def check(study: StudyFile, overrides: Overrides) -> None:
    loaded = load_study(study, overrides)
    storage = open_storage(loaded.root, create=False)
    found = check_stages(stages_of(loaded), loaded, storage)
    if loaded.data.prepared is not None:
        manifest = read_manifest(storage, loaded.data_folder, DataManifest)
        screen.write(f"prepared elsewhere: {manifest.num_images.total} images\n")
    else:
        listings: Listings = found.get(PrepareStage.name) or tuple(map(list_source, loaded.data.sources))
        for source, listing in zip(loaded.data.sources, listings, strict=True):
            screen.show_rows(_title(source), source_rows(listing))
    screen.write(f"study {loaded.name} is sound; it would write below {storage.root}\n")


def _title(source: SourceConfig) -> str:
    return source.layout if source.layout == "phantom" else f"{source.layout} {source.path}"


def run_all(study: StudyFile, overrides: Overrides, dry_run: DryRun = False) -> None:
    loaded = load_study(study, overrides)
    storage = open_storage(loaded.root, create=not dry_run)
    if dry_run:
        describe(stages_of(loaded), loaded, storage)
    else:
        run_study(loaded, storage)
