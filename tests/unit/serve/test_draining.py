"""The hook of a pod that stops waits for the proxy of its own node; `tests/integration/serving` runs it with Ray."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import ray

from synfundus_serve.edge import draining

BUSY = {"SERVE_PROXY_ACTOR-aa": 0, "SERVE_PROXY_ACTOR-bb": 2, "SERVE_CONTROLLER_ACTOR": 9}
"""Requests under way in the actor of each name; the proxy of node `bb` has steady traffic."""


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The node of this process, in a cluster of two; Ray does not run."""

    def actor(name: str, namespace: str) -> SimpleNamespace:
        assert namespace == "serve"
        remote: Callable[[object], int] = lambda function: BUSY[name]  # noqa: E731
        return SimpleNamespace(__ray_call__=SimpleNamespace(remote=remote))

    @contextmanager
    def no_session() -> Iterator[None]:
        yield

    here = SimpleNamespace(id="aa")
    named = [{"namespace": "serve", "name": name} for name in BUSY]
    monkeypatch.setattr(ray.util, "list_named_actors", lambda all_namespaces: named)
    monkeypatch.setattr(ray, "get_actor", actor)
    monkeypatch.setattr(ray, "get", lambda result, timeout: result)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: here.id))
    monkeypatch.setattr(draining, "ray_session", no_session)
    monkeypatch.setattr(draining, "SETTLE_S", 0.0)
    monkeypatch.setattr(draining.wait_for_requests, "__defaults__", (0.2, ""))
    return here


@pytest.mark.parametrize(("name", "message"), [("aa", ""), ("bb", "2 requests are cut after 60 s\n")])
def test_a_pod_waits_for_the_requests_of_its_own_proxy_alone(
    node: SimpleNamespace, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    node.id = name
    draining.main()
    assert capsys.readouterr().err == message


def test_the_end_of_the_service_waits_for_every_proxy(node: SimpleNamespace) -> None:
    assert draining.wait_for_requests() == 2
