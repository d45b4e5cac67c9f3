"""API keys at the gateway."""

import httpx
import pytest

from support.endpoints import Endpoints
from synfundus_serve.api_keys import new_key

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/generate"), ("POST", "/v1/diagnose"), ("GET", "/v1/labels"), ("GET", "/v1/models")],
)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer synfundus-wrong"}, {"Authorization": "Basic eA=="}])
def test_a_request_without_a_known_key_is_401(
    endpoints: Endpoints, method: str, path: str, headers: dict[str, str]
) -> None:
    response = httpx.request(method, endpoints.url + path, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["status"] == 401


@pytest.mark.parametrize("path", ["/v1/generate", "/v1/diagnose"])
@pytest.mark.parametrize("body", [b"{", b"[" * 5000, bytes(33 * 2**20)])
def test_a_body_without_a_key_is_not_read(endpoints: Endpoints, path: str, body: bytes) -> None:
    response = httpx.post(endpoints.url + path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 401


def test_every_request_is_refused_while_the_file_of_keys_is_damaged(endpoints: Endpoints) -> None:
    whole = endpoints.keys_file.read_text()
    endpoints.keys_file.write_text(whole[:-10])
    try:
        with endpoints.client() as client:
            refused = client.get("/v1/labels")
    finally:
        endpoints.keys_file.write_text(whole)
    assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
    with endpoints.client() as client:
        assert client.get("/v1/labels").status_code == 200


def test_a_key_whose_line_is_deleted_is_refused(endpoints: Endpoints) -> None:
    key = new_key(endpoints.keys_file, "passing")
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.get(endpoints.url + "/v1/labels", headers=headers).status_code == 200
    lines = endpoints.keys_file.read_text().splitlines(keepends=True)
    endpoints.keys_file.write_text("".join(line for line in lines if not line.startswith("passing:")))
    assert httpx.get(endpoints.url + "/v1/labels", headers=headers).status_code == 401
    assert httpx.get(endpoints.url + "/v1/labels", headers={"Authorization": f"Bearer {endpoints.key}"}).is_success


def test_the_probes_answer_without_a_key(endpoints: Endpoints) -> None:
    assert httpx.get(endpoints.url + "/healthz").json() == {"status": "alive"}
    assert httpx.get(endpoints.url + "/readyz").json() == {"status": "ready"}
