"""An HTTP proxy in front of a real S3 store: it records requests and lets a test change the responses."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Response:
    """A response of the store, which a test may change before the proxy passes it on."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut_to: int | None = None
    """Number of bytes of the body after which the connection breaks."""
    kept_back: bool = False
    """True if the client gets no response until the proxy ends."""


@dataclass
class Proxy:
    """A running proxy."""

    endpoint: str
    requests: list[str] = field(default_factory=list)
    """Method and target of every request, in order."""
    change: Callable[[str, Response], None] = lambda request, response: None
    """Function called with each request, as in `requests`, and its response."""


def refuse(name: str, status: int, code: str) -> Callable[[str, Response], None]:
    """Return a function for `Proxy.change` that refuses each request with `name` in it."""

    def change(request: str, response: Response) -> None:
        if name in request:
            response.status, response.body = status, f"<Error><Code>{code}</Code><Message/></Error>".encode()

    return change


@contextmanager
def proxy_of(endpoint: str) -> Iterator[Proxy]:
    """Run a proxy in front of the store at `endpoint`. It keeps the header Host, which the client signed."""
    store = urlsplit(endpoint)
    over = threading.Event()
    assert store.hostname is not None

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = http.client.HTTPConnection(str(store.hostname), store.port, timeout=30)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect":  # this server has responded to it
                    connection.putheader(name, value)
            connection.endheaders(body)
            upstream = connection.getresponse()
            kept = {name: value for name, value in upstream.getheaders() if name.lower() != "transfer-encoding"}
            response = Response(upstream.status, kept, upstream.read())
            connection.close()
            request = f"{self.command} {self.path}"
            proxy.requests.append(request)
            proxy.change(request, response)
            if response.kept_back:
                over.wait()
                self.close_connection = True
            else:
                self._send(response)

        def _send(self, response: Response) -> None:
            self.send_response_only(response.status)
            for name, value in response.headers.items():
                if name.lower() not in ("content-length", "connection"):
                    self.send_header(name, value)
            if self.command == "HEAD":
                self.send_header("Content-Length", response.headers.get("Content-Length", "0"))
            elif response.status != 204:
                self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body[: response.cut_to])
            self.close_connection = response.cut_to is not None

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass_on

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()
