"""Requests that share the engine: same images as alone, fewer forwards, limits, failures."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from support.endpoints import APP, Endpoints, assert_within_bound, images_of

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_a_request_among_others_gives_the_same_images_as_alone(endpoints: Endpoints) -> None:
    own: dict[str, Any] = {"condition": {"dr_grade": 3}, "seed": 11, "steps": 60, "solver": "ddim", "n": 2}
    alone = endpoints.generate(**own)
    others: list[dict[str, Any]] = [
        {"n": 3, "steps": 90, "seed": 1},
        {"n": 2, "steps": 40, "solver": "ddpm", "guidance": 1.0, "seed": 2},
        {"n": 4, "steps": 75, "solver": "dpmpp-2m", "guidance": 4.0, "seed": 3},
    ]
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(endpoints.generate, **request) for request in others]
        crowded = pool.submit(endpoints.generate, **own).result()
        for future in futures:
            future.result()
    for one, other in zip(images_of(alone), images_of(crowded), strict=True):
        assert_within_bound(one, other)


def test_overlapping_requests_share_forwards(endpoints: Endpoints) -> None:
    generation = endpoints.handle("Generation")
    before = generation.num_forwards.remote().result()
    with ThreadPoolExecutor(2) as pool:
        longer = pool.submit(endpoints.generate, steps=400, seed=1)
        while generation.num_forwards.remote().result() < before + 10:
            time.sleep(0.01)
        pool.submit(endpoints.generate, steps=200, seed=2).result()
        longer.result()
    assert 400 <= generation.num_forwards.remote().result() - before < 600


def test_rows_of_a_client_that_closes_the_connection_leave(endpoints: Endpoints) -> None:
    generation = endpoints.handle("Generation")
    before = generation.num_forwards.remote().result()
    with endpoints.client() as client, pytest.raises(httpx.ReadTimeout):
        client.post("/v1/generate", json={"n": 3, "steps": 1000}, timeout=httpx.Timeout(30, read=0.5))
    deadline_s = time.monotonic() + 60
    while generation.num_rows.remote().result():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert 0 < generation.num_forwards.remote().result() - before < 1000


def test_a_full_queue_is_429_with_the_seconds_until_a_retry(endpoints: Endpoints) -> None:
    with ThreadPoolExecutor(1) as pool, endpoints.client() as client:
        request = {"n": 2, "steps": 1000}
        first = pool.submit(client.post, "/v1/generate", json=request, timeout=httpx.Timeout(30, read=5.0))
        while not endpoints.handle("Generation").num_rows.remote().result():
            time.sleep(0.01)
        refused = client.post("/v1/generate", json=request)
        with contextlib.suppress(httpx.ReadTimeout):  # the test needs no images of it
            first.result()
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 600


def test_a_killed_model_is_503_until_it_is_replaced(endpoints: Endpoints) -> None:
    import ray

    (name,) = [
        one["name"] for one in ray.util.list_named_actors(all_namespaces=True) if f"{APP}#Generation" in one["name"]
    ]
    generation = endpoints.handle("Generation")
    with ThreadPoolExecutor(1) as pool, endpoints.client() as client:
        # Rows of an earlier test must not count: a request that the killed model has not accepted goes to the next.
        while generation.num_rows.remote().result():
            time.sleep(0.01)
        under_way = pool.submit(client.post, "/v1/generate", json={"n": 2, "steps": 1000})
        while not generation.num_rows.remote().result():
            time.sleep(0.01)
        ray.kill(ray.get_actor(name, namespace="serve"))
        refused = under_way.result()
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert int(refused.headers["retry-after"]) > 0
        deadline_s = time.monotonic() + 120
        while client.post("/v1/generate", json={"steps": 1}).status_code != 200:
            assert time.monotonic() < deadline_s
            time.sleep(1)
