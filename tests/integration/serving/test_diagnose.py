"""`POST /v1/diagnose`: predictions for photographs, and photographs that are refused."""

import base64
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.endpoints import Endpoints, Photograph
from synfundus.fundus.sources import list_source

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize("form", ["multipart", "json", "raw"])
def test_a_photograph_gets_the_probabilities_of_the_stored_annotator(
    endpoints: Endpoints, photograph: Photograph, form: str
) -> None:
    data = photograph.data
    with endpoints.client() as client:
        if form == "multipart":
            response = client.post("/v1/diagnose", files=[("images", ("a.png", data)), ("images", data)])
        elif form == "json":
            encoded = base64.b64encode(data).decode()
            response = client.post("/v1/diagnose", json={"images": [encoded, f"data:image/png;base64,{encoded}"]})
        else:
            response = client.post("/v1/diagnose", content=data, headers={"Content-Type": "image/png"})
    assert response.status_code == 200, response.text
    body = response.json()
    assert "Research use only" in body["notice"]
    assert len(body["images"]) == (1 if form == "raw" else 2)
    for one in body["images"]:
        for name, prediction in one["predictions"].items():
            if photograph.probability[name] is None:
                assert prediction["status"] == "not available"
                assert prediction["reason"]
                assert prediction["value"] is prediction["probability"] is None
            else:
                assert prediction["status"] == "available"
                assert prediction["value"] == photograph.annotation[name]
                assert prediction["operating_point"] == "matched prevalence"
                difference = np.subtract(prediction["probability"], np.asarray(photograph.probability[name]))
                assert np.abs(difference).max() <= 1e-4


def test_the_format_of_a_photograph_is_read_from_its_bytes(endpoints: Endpoints, photograph: Photograph) -> None:
    with endpoints.client() as client:
        answers = [
            client.post("/v1/diagnose", content=photograph.data, headers={"Content-Type": media_type}).json()
            for media_type in ("image/png", "image/jpeg", "Image/PNG; a=b")
        ]
    assert answers[0] == answers[1] == answers[2]


def test_many_photographs_at_once_get_the_same_predictions_as_alone(endpoints: Endpoints) -> None:
    records = list_source(endpoints.study.data.sources[0]).records[:24]

    def diagnose(data: bytes) -> dict[str, Any]:
        with endpoints.client() as client:
            body: dict[str, Any] = client.post("/v1/diagnose", files={"images": data}).json()["images"][0]
            return body

    alone = [diagnose(record.load()) for record in records[:3]]
    with ThreadPoolExecutor(12) as pool:
        crowded = list(pool.map(diagnose, [record.load() for record in records]))
    assert crowded[:3] == alone
    diagnosis = endpoints.handle("Diagnosis")
    before = diagnosis.num_batches.remote().result()
    with endpoints.client() as client:
        together = client.post("/v1/diagnose", files=[("images", record.load()) for record in records]).json()["images"]
    assert together == crowded
    assert diagnosis.num_batches.remote().result() - before == 2  # 24 photographs in forwards of 16
    assert len({json.dumps(one["predictions"], sort_keys=True) for one in crowded}) > 12


def _blank() -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (64, 64)).save(sink, "PNG")
    return sink.getvalue()


def _huge() -> bytes:
    sink = io.BytesIO()
    Image.new("L", (10_000, 10_000)).save(sink, "PNG")
    return sink.getvalue()


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"no image", {"Content-Type": "image/png"}, 422, "image 0: not an image"),
        (b"\x89PNG\r\n\x1a\n", {"Content-Type": "image/png"}, 422, "image 0"),
        (_blank(), {"Content-Type": "image/png"}, 422, "no field of view"),
        (_huge(), {"Content-Type": "image/png"}, 413, "image 0: decompression bomb"),
        (b"", {"Content-Type": "image/png"}, 422, "image 0"),
        (b'{"images": ["%%"]}', {"Content-Type": "application/json"}, 422, "#/images/0: not base64"),
        (b'{"images": []}', {"Content-Type": "application/json"}, 422, "#/images"),
        (b'{"images": 3', {"Content-Type": "application/json"}, 422, "JSON"),
        (b"x", {"Content-Type": "text/plain"}, 415, "media type not supported; send multipart/form-data"),
        (b"--a--\r\n", {"Content-Type": "multipart/form-data; boundary=a"}, 422, "no photograph"),
        (b"", {"Content-Type": "multipart/form-data"}, 422, "the form cannot be read"),
        (bytes(33 * 2**20), {"Content-Type": "image/png"}, 413, "larger than 32 MiB"),
    ],
)
def test_a_photograph_that_cannot_be_prepared_names_the_reason(
    endpoints: Endpoints, body: bytes, headers: dict[str, str], status: int, message: str
) -> None:
    with endpoints.client() as client:
        response = client.post("/v1/diagnose", content=body, headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert message in response.json()["detail"]


def test_too_many_photographs_are_422_in_either_form(endpoints: Endpoints) -> None:
    with endpoints.client() as client:
        form = client.post("/v1/diagnose", files=[("images", b"x")] * 65)
        body = client.post("/v1/diagnose", json={"images": ["eA=="] * 65})
    assert (form.status_code, body.status_code) == (422, 422)
    assert body.json()["errors"][0]["pointer"] == "#/images"


def test_a_body_without_a_stated_length_is_limited(endpoints: Endpoints) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(2**20)

    with endpoints.client() as client:
        response = client.post("/v1/diagnose", content=chunks(), headers={"Content-Type": "image/png"})
    assert response.status_code == 413
