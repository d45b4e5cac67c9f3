"""`POST /v1/generate`: samples from requested labels."""

import io
import json
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from support.endpoints import MAX_ROW_STEPS, Endpoints, assert_within_bound, images_of, pixels_of
from support.tiny_study import FinishedStudy
from synfundus.labels import LABEL_NAMES

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_a_row_of_a_shard_gives_its_image_again(endpoints: Endpoints, finished_study: FinishedStudy) -> None:
    study = endpoints.study
    shard = pq.read_table(finished_study.root / study.samples_folder / "shards" / "shard-00001.parquet").to_pylist()
    assert study.serving.generation.precision == study.samples.resources.precision == "bf16"
    for row in shard[:4]:
        condition = {name: row[f"condition_{name}"] for name in LABEL_NAMES}
        body = endpoints.generate(condition=condition, seed=row["seed"])
        (generated,) = body["images"]
        assert_within_bound(images_of(body)[0], pixels_of(row["image"]["bytes"]))
        assert generated["seed"] == row["seed"]
        assert generated["condition"] == condition
    other = endpoints.generate(condition=condition, seed=row["seed"] + 1)
    assert np.abs(images_of(other)[0] - pixels_of(row["image"]["bytes"])).max() > 4


def test_the_image_is_a_png_marked_as_synthetic(endpoints: Endpoints) -> None:
    request: dict[str, Any] = {"condition": {"eye_side": 1}, "seed": 5, "steps": 3}
    as_json = endpoints.generate(**request)
    with endpoints.client(Accept="image/png") as client:
        response = client.post("/v1/generate", json=request)
        assert response.headers["content-type"] == "image/png"
        assert client.post("/v1/generate", json={**request, "n": 2}).status_code == 422
    with Image.open(io.BytesIO(response.content)) as image:
        assert image.text == {  # type: ignore[attr-defined]
            "Synthetic": "yes",
            "Software": "SynFundus",
            "Seed": "5",
            "Model": as_json["model"],
        }
    assert response.headers["synfundus-seed"] == "5"
    assert response.headers["synfundus-model"] == as_json["model"]
    assert "Research use only" in response.headers["synfundus-notice"]
    assert json.loads(response.headers["synfundus-annotation"]) == as_json["images"][0]["annotation"]
    assert_within_bound(pixels_of(response.content), images_of(as_json)[0])


def test_images_of_a_request_have_consecutive_seeds(endpoints: Endpoints) -> None:
    together = endpoints.generate(n=3, seed=2**53 - 2, steps=2)
    assert [generated["seed"] for generated in together["images"]] == [2**53 - 2, 2**53 - 1, 0]
    alone = endpoints.generate(seed=2**53 - 1, steps=2)
    assert_within_bound(images_of(together)[1], images_of(alone)[0])
    assert len({generated["seed"] for _ in range(3) for generated in endpoints.generate(steps=1)["images"]}) == 3


def test_every_field_of_a_generation_may_be_omitted(endpoints: Endpoints) -> None:
    with endpoints.client() as client:
        response = client.post("/v1/generate")
    assert response.status_code == 200
    assert response.json()["solver"]["num_steps"] == endpoints.study.samples.solver.num_steps


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/json"),
        ("Image/PNG; q=1", "image/png"),
        ("text/plain, image/png, */*", "image/png"),
        ("application/json, image/png", "application/json"),
        ("image/png;q=0.5, application/json;q=0.6", "application/json"),
        ("application/json;q=0, image/*;q=0.1", "image/png"),
        ("text/html", "application/problem+json"),
    ],
)
def test_the_preferred_media_type_is_sent(endpoints: Endpoints, accept: str, media_type: str) -> None:
    with endpoints.client(Accept=accept) as client:
        assert client.post("/v1/generate", json={"steps": 1}).headers["content-type"] == media_type


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"n": 0}, "#/n"),
        ({"n": 65}, "#/n"),
        ({"seed": 2**53}, "#/seed"),
        ({"steps": 1001}, "1000 timesteps"),
        ({"n": 4, "steps": 1000}, f"at most {MAX_ROW_STEPS}"),
        ({"solver": "euler"}, "#/solver"),
        ({"guidance": 0.5}, "#/guidance"),
        ({"condition": {"eye_sid": 1}}, "'eye_sid' is not a label"),
        ({"condition": {"dr_grade": 5}}, "dr_grade is 5"),
        ({"condition": {"is_fundus": 0, "is_amd": 1}}, "is_amd cannot be requested"),
        ({"sed": 1}, "did you mean 'seed'"),
        ({"condition": {"a/b~c": "x"}}, "#/condition/a~1b~0c: "),
    ],
)
def test_a_request_that_can_never_be_served_is_422(
    endpoints: Endpoints, request_: dict[str, Any], message: str
) -> None:
    with endpoints.client() as client:
        response = client.post("/v1/generate", json=request_)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert {"type", "title", "status", "detail"} <= problem.keys()
    assert message in problem["detail"]


@pytest.mark.parametrize(
    ("body", "media_type", "status", "pointer"),
    [
        (b'{"n": 1', "application/json", 422, "#"),
        (b"7", "application/json", 422, "#"),
        (b'{"n": "one"}', "application/json", 422, "#/n"),
        (b'{"n": 1}', "text/plain", 415, None),
        (
            json.dumps({"condition": {str(i): "x" for i in range(1000)}}).encode(),
            "application/json",
            422,
            "#/condition/0",
        ),
        (b'{"x": "' + bytes(2**20) + b'"}', "application/json", 413, None),
    ],
)
def test_a_body_that_does_not_match_names_the_place(
    endpoints: Endpoints, body: bytes, media_type: str, status: int, pointer: str | None
) -> None:
    with endpoints.client() as client:
        response = client.post("/v1/generate", content=body, headers={"Content-Type": media_type})
    assert response.status_code == status
    problem = response.json()
    assert len(problem["detail"]) < 3000
    assert [one["pointer"] for one in problem.get("errors", [])][:1] == ([] if pointer is None else [pointer])
