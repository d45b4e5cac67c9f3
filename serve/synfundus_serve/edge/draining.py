"""Finish running requests before the service stops. In a pod, `python -m synfundus_serve.edge.draining` waits."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from synfundus.distributed.session import ray_session
from synfundus_serve.edge.application import Edge
from synfundus_serve.edge.protocol import BoundedProtocol

DRAIN_S = 60.0
"""Longest time that requests have to finish after the service or a pod begins to stop."""
SETTLE_S = 5.0
"""Time after which Kubernetes routes no new request to a pod that stops."""
INTERVAL_S = 0.1
ANSWER_S = 10.0
"""Time that a proxy has to answer; a proxy without an answer counts as ended."""
Result = TypeVar("Result")


def _refuse_requests(_: object) -> None:
    Edge.is_draining = True


def _num_busy(_: object) -> int:
    return sum(connection.is_busy for connection in BoundedProtocol.open)


def _in_each_proxy(function: Callable[[object], Result], node: str = "") -> list[Result]:
    """Return the results of a function that runs in the process of each proxy.

    Args:
        node: id of the Ray node whose proxy is meant; empty for all of them.
    """
    import ray
    from ray.exceptions import RayError
    from ray.serve._private.constants import SERVE_NAMESPACE, SERVE_PROXY_NAME

    results: list[Result] = []
    for actor in ray.util.list_named_actors(all_namespaces=True):
        if actor["namespace"] == SERVE_NAMESPACE and actor["name"].startswith(f"{SERVE_PROXY_NAME}-{node}"):
            with suppress(RayError, ValueError):  # it has ended since it was listed
                proxy = ray.get_actor(actor["name"], SERVE_NAMESPACE)
                results.append(ray.get(proxy.__ray_call__.remote(function), timeout=ANSWER_S))
    return results


def refuse_new_requests() -> None:
    """Let every proxy answer new requests with 503. Requests that are under way go on."""
    _in_each_proxy(_refuse_requests)


def wait_for_requests(limit_s: float = DRAIN_S, node: str = "") -> int:
    """Wait until no request is under way, at most `limit_s`; return the number of those that still are.

    Args:
        limit_s: longest wait, in seconds.
        node: id of the Ray node whose proxy counts; empty for all of them.
    """
    deadline_s = time.monotonic() + limit_s
    while (num_busy := sum(_in_each_proxy(_num_busy, node))) and time.monotonic() < deadline_s:
        time.sleep(INTERVAL_S)
    return num_busy


def main() -> None:
    """Wait in a pod that stops, until no request is under way in the proxy of this pod.

    No request is refused, because other pods of the service may continue. Requests that their proxies pass to replicas
    in this pod are not waited for: under steady traffic that wait would never end.
    """
    time.sleep(SETTLE_S)
    with ray_session():
        import ray  # reads the environment at import, and `ray_session` sets it

        num_busy = wait_for_requests(node=ray.get_runtime_context().get_node_id())
    if num_busy:
        sys.stderr.write(f"{num_busy} requests are cut after {DRAIN_S:g} s\n")


if __name__ == "__main__":
    main()
