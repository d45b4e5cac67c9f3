"""Refusals of the gateway's application before a model is asked: types, media types, parts that no route reads."""

import asyncio
import json
from typing import Any, cast

import httpx
import pytest
from ray.serve.handle import DeploymentHandle

from synfundus.diffusion.config import SolverConfig
from synfundus_serve.app import make_app
from synfundus_serve.messages import GenerateRequest
from synfundus_serve.negotiation import best_of

NO_MODEL = cast(DeploymentHandle, None)
JSON, PNG = "application/json", "image/png"


def send(method: str, path: str, **request: Any) -> httpx.Response:
    """Return the response of an application whose models do not exist."""

    async def respond() -> httpx.Response:
        transport = httpx.ASGITransport(make_app("tiny", None, NO_MODEL, NO_MODEL))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.request(method, path, **request)

    return asyncio.run(respond())


def require_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Assert that a response is a problem of this status; return it."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert len(response.content) < 10_000
    return problem


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ('{"seed": false}', "#/seed"),
        ('{"n": "3"}', "#/n"),
        ('{"n": true}', "#/n"),
        ('{"n": 2.5}', "#/n"),
        ('{"n": [2]}', "#/n"),
        ('{"n": null}', "#/n"),
        ('{"steps": "20"}', "#/steps"),
        ('{"guidance": "2.0"}', "#/guidance"),
        ('{"guidance": true}', "#/guidance"),
        ('{"guidance": NaN}', "#/guidance"),
        ('{"guidance": -Infinity}', "#/guidance"),
        ('{"guidance": 1e400}', "#/guidance"),
        ('{"seed": 1e300}', "#/seed"),
        ('{"seed": -1}', "#/seed"),
        ('{"seed": %s}' % ("9" * 400), "#/seed"),
        ('{"seed": %s}' % ("9" * 5000), "#"),
        ('{"solver": 1}', "#/solver"),
        ('{"condition": {"dr_grade": true}}', "#/condition/dr_grade"),
        ('{"condition": {"dr_grade": "2"}}', "#/condition/dr_grade"),
        ('{"condition": {"dr_grade": 1.5}}', "#/condition/dr_grade"),
        ('{"condition": []}', "#/condition"),
        ('{"n": 1, "n": 2}', "#"),
        ('{"condition": {"dr_grade": 1, "dr_grade": 2}}', "#"),
        ('{"condition": {"\\ud800": 1}}', "#"),
        ("[" * 100_000, "#"),
        ('{"condition": ' + '{"a": ' * 300 + "1" + "}" * 301, "#"),
        ('{"%s": 1}' % ("a" * 2**19), "#"),
        ("\ufeff{}", "#"),
        ("null", "#"),
    ],
    ids=range(29),
)
def test_a_body_of_other_types_is_422_and_names_the_place(body: str, pointer: str) -> None:
    problem = require_problem(send("POST", "/v1/generate", content=body.encode()), 422)
    assert problem["errors"][0]["pointer"] == pointer


def test_an_integer_may_be_written_as_3_0() -> None:
    request = GenerateRequest.model_validate_json(
        '{"n": 3.0, "seed": 1e3, "guidance": 2, "condition": {"dr_grade": 2.0}}'
    )
    assert (request.n, request.seed, request.guidance, request.condition) == (3, 1000, 2.0, {"dr_grade": 2})
    assert all(type(value) is int for value in (request.n, request.seed, request.condition["dr_grade"]))


def test_a_request_may_name_the_spacing_of_its_solver() -> None:
    usual = SolverConfig(name="dpmpp-2m", spacing="karras")
    assert GenerateRequest().solver_config(usual) == usual
    assert GenerateRequest(spacing="log-snr").solver_config(usual).spacing == "log-snr"
    problem = require_problem(send("POST", "/v1/generate", content=b'{"spacing": "linear"}'), 422)
    assert problem["errors"][0]["pointer"] == "#/spacing"


@pytest.mark.parametrize("body", [b"\xff\xfe{}", '{"n": 1}'.encode("utf-16"), b'{"solver": "\xe9"}'])
def test_json_that_is_not_utf_8_is_422(body: bytes) -> None:
    require_problem(send("POST", "/v1/generate", content=body, headers={"Content-Type": JSON}), 422)


@pytest.mark.parametrize(
    "body", ['{"images": [1]}', '{"images": "eA=="}', '{"images": [null]}', '{"images": ["eA=="], "images": ["eA=="]}']
)
def test_photographs_of_other_types_are_422(body: str) -> None:
    require_problem(send("POST", "/v1/diagnose", content=body, headers={"Content-Type": JSON}), 422)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/labels/", 404),
        ("GET", "/v1/%00", 404),
        ("GET", "/v1/%ff%fe", 404),
        ("GET", "/v1/generate", 405),
        ("DELETE", "/v1/labels", 405),
        ("BREW", "/v1/labels", 405),
        ("OPTIONS", "/v1/generate", 405),
        ("POST", "/v1/generate?seed=3", 422),
        ("GET", "/v1/labels?a=b", 422),
    ],
)
def test_a_path_a_method_and_a_query_without_meaning_are_problems(method: str, path: str, status: int) -> None:
    response = send(method, path)
    require_problem(response, status)
    assert ("allow" in response.headers) == (status == 405)


def test_a_compressed_body_is_415() -> None:
    response = send("POST", "/v1/generate", content=b"{}", headers={"Content-Encoding": "gzip"})
    require_problem(response, 415)
    assert response.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("image/*", PNG),
        ("Image/PNG; q=1", PNG),
        ("text/plain, image/png, */*", PNG),
        ("application/json, image/png", JSON),
        ("image/png, application/json", PNG),
        ("image/png;q=0.1, application/json;q=0.9", JSON),
        ("image/png;q=0.9, application/json;q=0.1", PNG),
        ("image/png;q=0, */*", JSON),
        ("application/json;q=0, */*;q=0.1", PNG),
        ("image/*;q=0.9, image/png;q=0.2, application/json;q=0.5", JSON),
        ("*/*;q=0.5, image/png;q=0.4", JSON),
        ("application/json;charset=utf-8;q=0.3, image/png;q=0.2", JSON),
        ("text/html", None),
        ("image/webp, image/avif", None),
        ("application/problem+json", None),
        ("image/png;q=0", None),
        ("*/*;q=0", None),
        ("image/png;q=2", None),
        ("*/png", None),
        ("png", None),
    ],
)
def test_the_preferred_media_type_is_chosen(accept: str, chosen: str | None) -> None:
    assert best_of((JSON, PNG), accept) == chosen


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/generate"), ("POST", "/v1/diagnose"), ("GET", "/v1/labels"), ("GET", "/v1/models")],
)
def test_a_media_type_that_cannot_be_sent_is_406(method: str, path: str) -> None:
    problem = require_problem(send(method, path, headers={"Accept": "text/html, image/webp;q=0.5"}), 406)
    assert "accept application/json" in problem["detail"]


def test_several_headers_accept_are_one_list() -> None:
    headers = [("Accept", "text/html"), ("Accept", "application/json;q=0.5")]
    assert json.loads(send("POST", "/v1/generate", headers=headers, content=b'{"n": 0}').content)["status"] == 422
