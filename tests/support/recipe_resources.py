"""Write helm/synfundus/files/resources.yaml: the resources that each recipe gives to the stages and the endpoints.

The chart reads the file, because a template cannot read the recipes of the package.
"""

import tempfile
from pathlib import Path

import yaml

from synfundus.cluster.capacity import Demand, demand_of_grid, demands_of
from synfundus.study import Study, read_recipe, recipe_names, resolve
from synfundus.transfer.config import CellResources

FILE = Path(__file__).parents[2] / "helm" / "synfundus" / "files" / "resources.yaml"
HEADER = """\
# Resources of the stages and of the endpoints' replicas by recipe; `none` is a study without a recipe;
# `transfer` is the grid of a study that has one.
# Written by tests/support/recipe_resources.py.
"""
PHANTOMS = {"layout": "phantom", "num_images": 100, "size_px": 64}


def study_without_recipe() -> Study:
    """Return a study whose resources are the defaults of the settings."""
    values = yaml.safe_load(read_recipe("phantom-cpu"))
    for section in values.values():
        section.pop("resources", None)
    values.pop("serving", None)
    text = yaml.safe_dump(values | {"name": "none", "root": "s3://bucket/prefix"})
    return resolve(text, "none", Path(tempfile.gettempdir()))


def study_of(recipe: str) -> Study:
    """Return a study that adds nothing to a recipe but what every study has to state."""
    stated = {"recipe": recipe, "name": "x", "root": "s3://bucket/prefix", "data": {"sources": [PHANTOMS]}}
    release = {"title": "x", "data_statement": "x", "date_published": "2026-01-01"}
    text = yaml.safe_dump(stated | {"release": release})
    return resolve(text, recipe, Path(tempfile.gettempdir()))


def _line(demand: Demand) -> str:
    return (
        f"{{place: {demand.place}, count_key: '{demand.count_key or ''}', num_workers: {demand.num_workers},"
        f" num_gpus: {demand.num_gpus:g}, pool: '{demand.pool or ''}'}}\n"
    )


def _text_of(name: str, study: Study) -> str:
    stages = "".join(f"  - {_line(demand)}" for demand in demands_of(study))
    serving = study.serving
    shares = f"{{generation: {serving.generation.num_gpus:g}, diagnosis: {serving.diagnosis.num_gpus:g}}}"
    return f"{name}:\n{stages}{name}/serving: {shares}\n"


def recipe_resources() -> str:
    """Return the content of the file."""
    studies = {"none": study_without_recipe()} | {name: study_of(name) for name in recipe_names()}
    recipes = "".join(_text_of(name, study) for name, study in studies.items())
    return f"{HEADER}{recipes}transfer: {_line(demand_of_grid(CellResources()))}"


if __name__ == "__main__":
    FILE.write_text(recipe_resources(), encoding="utf-8")
