"""The description of the interface, and the routes that describe labels and models."""

import httpx
import pytest

from support.endpoints import Endpoints, Photograph
from synfundus.labels import LABEL_NAMES

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_the_interface_describes_the_key_and_body_of_every_route(endpoints: Endpoints) -> None:
    interface = httpx.get(endpoints.url + "/openapi.json").json()
    for path, methods in interface["paths"].items():
        for method, described in methods.items():
            assert ("security" in described) == path.startswith("/v1/"), (method, path)
    assert interface["paths"]["/v1/generate"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert set(interface["paths"]["/v1/diagnose"]["post"]["requestBody"]["content"]) == {
        "multipart/form-data",
        "application/json",
        "image/jpeg",
        "image/png",
    }
    assert httpx.get(endpoints.url + "/docs").status_code == 200


def test_the_examples_of_the_interface_can_be_sent(endpoints: Endpoints) -> None:
    paths = httpx.get(endpoints.url + "/openapi.json").json()["paths"]
    example, photographs = (
        paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
        for path in ("/v1/generate", "/v1/diagnose")
    )
    assert len(endpoints.generate(**example)["images"]) == example["n"]
    with endpoints.client() as client:
        response = client.post("/v1/diagnose", json=photographs)
    assert response.status_code == 200, response.text
    assert len(response.json()["images"]) == 1


def test_labels_and_models_name_the_unusable_labels(endpoints: Endpoints, photograph: Photograph) -> None:
    unusable = {name for name in LABEL_NAMES if photograph.probability[name] is None}
    assert unusable  # some labels of the tiny annotator are unusable
    with endpoints.client() as client:
        labels = client.get("/v1/labels").json()["labels"]
        models = client.get("/v1/models").json()
    assert [label["name"] for label in labels] == list(LABEL_NAMES)
    assert {label["name"] for label in labels if label["diagnosis"] == "not available" and label["reason"]} == unusable
    assert set(models["annotator"]["not_available"]) == unusable
    assert models["generator"]["usual_solver"]["num_steps"] == endpoints.study.samples.solver.num_steps
