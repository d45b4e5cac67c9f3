"""Limits of the proxy as Ray Serve runs it; `tests/unit/serve/test_edge.py` has all of them."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from support.endpoints import Endpoints
from synfundus_serve.edge import draining

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def status_of(endpoints: Endpoints, *pieces: bytes) -> bytes:
    """Return the status line of the response to some bytes."""
    address = urlsplit(endpoints.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as client:
        for piece in pieces:
            client.sendall(piece)
        return client.makefile("rb").readline()


def test_rays_proxy_refuses_a_head_that_is_too_large(endpoints: Endpoints) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    assert status_of(endpoints, head, b"\r\n").startswith(b"HTTP/1.1 200")
    assert status_of(endpoints, head, b"X: ", b"a" * 100_000).startswith(b"HTTP/1.1 431")
    assert status_of(endpoints, b"\r\nno http\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_a_request_that_would_steer_ray_is_served_as_any_other(endpoints: Endpoints) -> None:
    steering = [
        (b"X-Request-Timeout-Seconds", b"0.001"),
        (b"Serve-Multiplexed-Model-Id", b"\xff"),
        (b"X-Session-Id", b"\xff"),
    ]
    with endpoints.client() as client:
        response = client.post("/v1/generate", json={"steps": 50}, headers=steering)
    assert response.status_code == 200, response.text


def test_a_pod_that_is_to_end_waits_for_requests_and_refuses_none(
    endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "SETTLE_S", 0.0)
    generation = endpoints.handle("Generation")
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(endpoints.generate, steps=300)
        while not generation.num_rows.remote().result():
            time.sleep(0.01)
        assert draining.wait_for_requests(0) == 1
        draining.main()
        assert generation.num_rows.remote().result() == 0
        assert len(under_way.result()["images"]) == 1
    endpoints.generate(steps=1)
