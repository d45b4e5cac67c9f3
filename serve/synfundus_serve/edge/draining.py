"""The end of the service without the loss of a request. `python -m synfundus_serve.edge.draining` waits in a pod."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from synfundus.distributed.session import ray_session
from synfundus_serve.edge.application import Edge
from synfundus_serve.edge.protocol import BoundedProtocol

INTERVAL_S = 0.1
Result = TypeVar("Result")


def _refuse_requests(_: object) -> None:
    Edge.is_draining = True


def _num_busy(_: object) -> int:
    return sum(connection.is_busy for connection in BoundedProtocol.open)


def _in_each_proxy(function: Callable[[object], Result]) -> list[Result]:
    """Return the results of a function that runs in the process of each proxy."""
    import ray
    from ray.serve._private.constants import SERVE_NAMESPACE, SERVE_PROXY_NAME

    actors = ray.util.list_named_actors(all_namespaces=True)
    names = [one["name"] for one in actors if one["namespace"] == SERVE_NAMESPACE]
    proxies = [ray.get_actor(name, SERVE_NAMESPACE) for name in names if name.startswith(SERVE_PROXY_NAME)]
    return list(ray.get([proxy.__ray_call__.remote(function) for proxy in proxies]))


def refuse_new_requests() -> None:
    """Let every proxy answer new requests with 503. Requests that are under way go on."""
    _in_each_proxy(_refuse_requests)


def wait_for_requests(limit_s: float) -> int:
    """Wait until no request is under way, at most `limit_s`; return the number of those that still are."""
    deadline_s = time.monotonic() + limit_s
    while (num_busy := sum(_in_each_proxy(_num_busy))) and time.monotonic() < deadline_s:
        time.sleep(INTERVAL_S)
    return num_busy


def main(arguments: Sequence[str]) -> int:
    """Wait in a pod that is to end, until no request of the service is under way; return the exit code.

    Kubernetes routes no new request to such a pod, after a moment. This call refuses none, because the other pods of
    the service may have to go on.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--settle-s", type=float, default=5.0, help="seconds until no new request is routed here")
    parser.add_argument("--limit-s", type=float, default=60.0, help="seconds to wait for requests after that")
    options = parser.parse_args(arguments)
    time.sleep(options.settle_s)
    with ray_session():
        num_busy = wait_for_requests(options.limit_s)
    if num_busy:
        sys.stderr.write(f"{num_busy} requests are cut after {options.limit_s:g} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
