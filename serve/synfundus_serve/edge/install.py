"""Install the limits in the process of Ray Serve's proxy."""

from collections.abc import Awaitable, Callable

from starlette.middleware import Middleware
from uvicorn.config import HTTP_PROTOCOLS, Config

from synfundus.environment import Environment
from synfundus.errors import SynfundusError
from synfundus_serve.edge.application import Edge

IMPORT_PATH = "synfundus_serve.edge.install:install"
VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
CONTROLLER_OPTIONS = {
    "runtime_env": {"env_vars": {VARIABLE: IMPORT_PATH, "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"}}
}
"""Options of Serve's controller, whose environment the proxies and replicas inherit on every node.

Ray calls `install` in each proxy before it listens. A proxy whose call fails does not start. By default Ray kills a
proxy that needs more than 5 s to start, as it may on a busy machine.
"""


def install() -> list[Middleware]:
    """Make uvicorn use `BoundedProtocol`, and return the middleware of the proxy.

    Raises:
        SynfundusError: uvicorn would use another protocol.
    """
    from synfundus_serve.edge.protocol import BoundedProtocol

    HTTP_PROTOCOLS["auto"] = f"{BoundedProtocol.__module__}:{BoundedProtocol.__qualname__}"
    config = Config(_no_application, log_config=None)  # else uvicorn would replace the log handlers of Ray's proxy
    config.load()
    if config.http_protocol_class is not BoundedProtocol:
        raise SynfundusError(
            f"uvicorn uses {config.http_protocol_class}, which has no limits; install the locked uvicorn"
        )
    return [Middleware(Edge)]


async def _no_application(scope: object, receive: Callable[[], Awaitable[object]], send: object) -> None:
    """Stand in for an application; uvicorn loads its settings only with one."""


def require_installed() -> None:
    """Refuse a replica of the gateway whose controller started proxies without limits.

    Raises:
        SynfundusError: the environment of this process does not name `install`.
    """
    if Environment().ray_serve_proxy_callback != IMPORT_PATH:
        raise SynfundusError(
            f"Serve's proxies have no limits: a header of 100 MB would stop them; start Serve with controller_options:"
            f" {{runtime_env: {{env_vars: {{{VARIABLE}: {IMPORT_PATH}}}}}}}"
        )
