"""The chart's memory limit of the pods that serve follows from the bytes that photographs take there."""

import math
import re
from pathlib import Path

import pytest
import yaml

from support.chart import CHART, REPOSITORY
from synfundus.fundus.held_bytes import MAX_HELD_BYTES
from synfundus_serve.diagnosis import MAX_OUTSTANDING_BYTES, PHOTOGRAPHS_BYTES

GIB, MIB = 2**30, 2**20
FILES = {
    "values.yaml": (CHART / "values.yaml", ("serving", "pool")),
    "small-values.yaml": (REPOSITORY / "infra" / "kubernetes" / "small-values.yaml", ("serving", "pool")),
}


def base_bytes() -> float:
    """Return the bytes of a pod that serves without photographs, as the comment in values.yaml states them."""
    (gib,) = re.findall(r"# Memory: Ray, [^.]* need ([\d.]+)Gi\. ", (CHART / "values.yaml").read_text())
    return float(gib) * GIB


@pytest.mark.parametrize("name", FILES)
def test_pods_that_serve_have_room_for_the_photographs_of_one_replica(name: str) -> None:
    path, keys = FILES[name]
    values = yaml.safe_load(Path(path).read_text())
    for key in keys:
        values = values[key]
    (limit_gib,) = re.findall(r"^(\d+)Gi$", values["resources"]["limits"]["memory"])
    assert values["resources"]["requests"]["memory"] == values["resources"]["limits"]["memory"]
    assert int(limit_gib) == math.ceil((base_bytes() + PHOTOGRAPHS_BYTES) / GIB)


def test_the_comment_of_the_chart_states_the_numbers_of_the_code() -> None:
    text = " ".join((CHART / "values.yaml").read_text().replace("#", "").split())
    assert f"Photographs need {PHOTOGRAPHS_BYTES / GIB:g}Gi" in text
    assert (
        f"{MAX_HELD_BYTES // MIB}Mi to decode them, and twice {MAX_OUTSTANDING_BYTES // MIB}Mi for those that wait"
        in text
    )
