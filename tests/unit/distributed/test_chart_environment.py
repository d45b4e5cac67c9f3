"""The chart repeats parts of the library's environment: the two must not drift apart."""

import re
from pathlib import Path

from pydantic import AliasChoices

from synfundus.distributed.session import FEWER_HELPERS, QUIET_AND_LIGHT, WORKERS_MALLOC
from synfundus.environment import PREFIX, Environment

TEMPLATES = Path(__file__).parents[3] / "helm" / "synfundus" / "templates"
TEXT = "\n".join(path.read_text() for path in sorted(TEMPLATES.glob("*.*")))


def variables_of_environment() -> set[str]:
    """Return the names of all variables that `Environment` reads."""
    names: set[str] = set()
    for field, info in Environment.model_fields.items():
        alias = info.validation_alias or f"{PREFIX}{field.upper()}"
        names.update(map(str, alias.choices) if isinstance(alias, AliasChoices) else [str(alias)])
    return names


def test_variables_of_malloc_and_ray_in_the_chart_have_the_values_of_local_workers() -> None:
    in_chart = dict(re.findall(r'\{name: ((?:MALLOC|RAY)_\w+), value: "([^"]*)"\}', TEXT))
    assert WORKERS_MALLOC.items() <= in_chart.items()
    assert in_chart.items() <= (WORKERS_MALLOC | QUIET_AND_LIGHT | FEWER_HELPERS).items()


def test_every_variable_of_ours_in_the_chart_is_one_that_the_library_reads() -> None:
    in_chart = set(re.findall(rf"{PREFIX}[A-Z0-9_]+", TEXT))
    assert in_chart
    assert in_chart <= variables_of_environment()


def test_every_variable_of_the_s3_store_can_be_set_in_the_chart() -> None:
    for name in ("S3_ENDPOINT", "S3_REGION", "S3_ADDRESSING"):
        assert f"{{name: {PREFIX}{name}, value:" in TEXT
