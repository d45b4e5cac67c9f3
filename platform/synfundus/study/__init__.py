"""A study: one YAML file with all settings of data, models, samples, evaluation, release and serving.

A file states only what differs from its `recipe`, a named set of settings that ships with the package. Overrides of the
command line (`--set generator.num_steps=500`) come last.
"""

from synfundus.study.config import SCHEMA_VERSION, DataConfig, Study
from synfundus.study.files import FILE_KEYS, named_files
from synfundus.study.load import load_study, resolve, show
from synfundus.study.paths import REAL_DATA_VARIABLE
from synfundus.study.recipes import read_recipe, recipe_names

__all__ = [
    "FILE_KEYS",
    "REAL_DATA_VARIABLE",
    "SCHEMA_VERSION",
    "DataConfig",
    "Study",
    "load_study",
    "named_files",
    "read_recipe",
    "recipe_names",
    "resolve",
    "show",
]
