"""An HTTP proxy before a real S3 store, for tests: it counts requests and lets a test change what they are answered."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Answer:
    """What the store said, to be changed before it goes on."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut_to: int | None = None
    """Bytes of the body after which the connection breaks."""
    kept_back: bool = False
    """Whether the client waits for it in vain, until the proxy ends."""


@dataclass
class Proxy:
    """The running proxy."""

    endpoint: str
    seen: list[str] = field(default_factory=list)
    """Method and target of every request, in order."""
    change: Callable[[str, Answer], None] = lambda request, answer: None
    """Called with each request, as in `seen`, and its answer."""


def refuse(name: str, status: int, code: str) -> Callable[[str, Answer], None]:
    """For `Proxy.change`: the store refuses each request that has `name` in it."""

    def change(request: str, answer: Answer) -> None:
        if name in request:
            answer.status, answer.body = status, f"<Error><Code>{code}</Code><Message/></Error>".encode()

    return change


@contextmanager
def proxy_of(endpoint: str) -> Iterator[Proxy]:
    """A proxy before the store at `endpoint`. The store sees the proxy's name as Host, as the client signed it."""
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
                if name.lower() != "expect":  # this server has answered it
                    connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            kept = {name: value for name, value in response.getheaders() if name.lower() != "transfer-encoding"}
            answer = Answer(response.status, kept, response.read())
            connection.close()
            request = f"{self.command} {self.path}"
            proxy.seen.append(request)
            proxy.change(request, answer)
            if answer.kept_back:
                over.wait()
                self.close_connection = True
            else:
                self._send(answer)

        def _send(self, answer: Answer) -> None:
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("content-length", "connection"):
                    self.send_header(name, value)
            if self.command == "HEAD":
                self.send_header("Content-Length", answer.headers.get("Content-Length", "0"))
            elif answer.status != 204:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body[: answer.cut_to])
            self.close_connection = answer.cut_to is not None

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
