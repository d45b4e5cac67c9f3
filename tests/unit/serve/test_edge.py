"""Limits of the HTTP proxy, over real sockets: uvicorn runs as in Ray's proxy, with `install` called before."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from synfundus.errors import SynfundusError
from synfundus_serve.edge import install, protocol
from synfundus_serve.edge.application import Edge

PERIOD_S = 0.4
NUM_HALF_OPEN = 600
LARGE_BYTES = 50 * 2**20
SMALL_BYTES = 48 * 2**10
"""Less than uvicorn's limit of 64 KiB, above which it pauses an application that writes."""


async def _application(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand for Ray's proxy: read the body, then answer as the path says."""
    path = scope["path"]
    if path in ("/early", "/late"):
        await asyncio.sleep(1.2 * PERIOD_S if path == "/late" else 0)
        await _text(send, 401)
        return
    if path in ("/large", "/small"):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(LARGE_BYTES if path == "/large" else SMALL_BYTES)})
        return
    while (message := await receive()).get("more_body", False):
        pass
    if message["type"] == "http.disconnect" or path == "/silent":
        return
    if path == "/defect":
        raise RuntimeError("10.0.0.7")
    if path == "/slow":
        await asyncio.sleep(1)
    names = sorted(name.decode() for name, _ in scope["headers"])
    status = int(path[1:]) if path[1:].isdigit() else 200
    await _text(send, status, json.dumps([path, names]).encode())


async def _text(send: Send, status: int, text: bytes = b"SERVE_PROXY_ACTOR at 10.0.0.7") -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Port of a server with shortened times."""
    monkeypatch.setattr(protocol, "PERIOD_S", PERIOD_S)
    monkeypatch.setattr(protocol, "LINGER_S", 0.1)
    assert len(install.install()) == 1  # `Edge`
    config = uvicorn.Config(Edge(_application), lifespan="off", log_config=None, timeout_keep_alive=90)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = server.force_exit = True
        thread.join(10)


@dataclass(frozen=True)
class Answer:
    """A response as it came over the socket."""

    status: int
    media_type: str
    body: bytes

    def require_problem(self, status: int) -> str:
        """Assert that it is a problem of this status; return the detail."""
        assert (self.status, self.media_type) == (status, "application/problem+json"), self
        problem = json.loads(self.body)
        assert (problem["type"], problem["status"]) == ("about:blank", status)
        assert "10.0.0.7" not in problem["detail"]
        detail: str = problem["detail"]
        return detail


def connect(port: int, *pieces: bytes) -> socket.socket:
    """Return a connection that has sent some bytes."""
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    for piece in pieces:
        client.sendall(piece)
    return client


def answer_of(client: socket.socket) -> Answer:
    """Return the response; the server has to end the connection, or to state the length."""
    data = b""
    while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < _length(data):
        if not (more := client.recv(2**16)):
            break
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return Answer(int(lines[0].split()[1]), headers.get("content-type", ""), body)


def _length(data: bytes) -> int:
    head = data.partition(b"\r\n\r\n")[0].lower()
    return int(head.partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)


def exchange(port: int, *pieces: bytes) -> Answer:
    """Return the response to some bytes."""
    with connect(port, *pieces) as client:
        return answer_of(client)


HEAD = b"GET /200 HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (HEAD + b"X: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (HEAD + b"".join(b"X-%d: a\r\n" % i for i in range(101)) + b"\r\n", 431),
        (b"GET /" + b"a" * 8200 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60) + b"\r\n\r\n", 400),
        (b"GET /200 HTTP/1.1\r\n\r\n", 400),  # no Host
        (HEAD + b"X\xff\x00: a\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /200 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /200 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * 100_000, 431),
    ],
)
def test_a_request_that_the_proxy_cannot_parse_gets_a_problem(port: int, request_: bytes, status: int) -> None:
    exchange(port, request_).require_problem(status)


def test_a_header_without_end_stops_nobody(port: int) -> None:
    with connect(port, HEAD + b"X: ") as attacker:
        piece = b"a" * 2**20
        with pytest.raises((ConnectionResetError, BrokenPipeError)):  # the server ends the connection
            while True:
                attacker.sendall(piece)
                assert exchange(port, HEAD + b"\r\n").status == 200


def test_half_open_and_slow_connections_are_closed(port: int) -> None:
    body = b"POST /200 HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n"
    chunked = b"POST /200 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
    early = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n"
    late = early.replace(b"early", b"late")
    starts = [
        b"",
        b"G",
        HEAD,
        body + b"{",
        body + bytes(90_000),
        chunked,
        early,
        early + b"{",
        late,
        HEAD + b"\r\nGET /",
    ]
    clients = [connect(port, starts[i % len(starts)]) for i in range(NUM_HALF_OPEN)]
    deadline_s, open_ = time.monotonic() + 10 * PERIOD_S, list(enumerate(clients))
    while open_ and time.monotonic() < deadline_s:
        time.sleep(PERIOD_S / 20)
        open_ = [(i, client) for i, client in open_ if not _is_closed(client, drip=i % 3 == 0)]
    for client in clients:
        client.close()
    assert not open_, f"{len(open_)} of {NUM_HALF_OPEN} are open: {sorted({i % len(starts) for i, _ in open_})}"


def _is_closed(client: socket.socket, *, drip: bool) -> bool:
    """Return whether the server has ended the connection; else send one byte more if it drips."""
    client.setblocking(False)
    try:
        while client.recv(2**16):
            pass
    except BlockingIOError:
        pass
    except OSError:
        return True
    else:
        return True
    try:
        if drip:
            client.send(b"a")
    except OSError:
        return True
    return False


def test_a_client_that_is_too_slow_is_told_so(port: int) -> None:
    for start in (HEAD, b"POST /200 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"):
        assert "took longer" in exchange(port, start).require_problem(408)


def test_a_client_that_does_not_read_is_cut_off(port: int) -> None:
    with connect(port, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n") as client:
        _wait_until(lambda: any(connection.is_busy for connection in protocol.BoundedProtocol.open))
        _wait_until(lambda: not protocol.BoundedProtocol.open)
        received = 0
        with suppress(ConnectionResetError):
            while more := client.recv(2**20):
                received += len(more)
    assert received < LARGE_BYTES


def test_a_client_that_does_not_read_the_rest_of_a_small_response_is_cut_off(port: int) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the smallest that the system has
        client.connect(("127.0.0.1", port))
        _wait_until(lambda: bool(protocol.BoundedProtocol.open))
        (connection,) = protocol.BoundedProtocol.open
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        client.sendall(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n")
        _wait_until(lambda: 0 < connection.transport.get_write_buffer_size() < 2**16 and connection.is_busy)
        _wait_until(lambda: not protocol.BoundedProtocol.open)


def test_a_refused_connection_is_not_checked_again(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """h11 has accepted the head, so that a body seems to be owed."""
    monkeypatch.setattr(protocol, "LINGER_S", 2.5 * PERIOD_S)
    headers = b"".join(b"X-%d: a\r\n" % i for i in range(101))
    with connect(port, b"POST /200 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n" + headers + b"\r\n") as client:
        answer_of(client).require_problem(431)
        _wait_until(lambda: not protocol.BoundedProtocol.open)
    assert [record for record in caplog.records if record.exc_info] == []


def _wait_until(is_true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_waiting_for_an_answer_or_for_the_next_request_ends_no_connection(port: int) -> None:
    with connect(port, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n") as client:
        assert answer_of(client).status == 200
        time.sleep(3 * PERIOD_S)
        client.sendall(HEAD + b"\r\n")
        assert answer_of(client).status == 200


def test_a_slow_body_that_goes_on_is_read(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MIN_PERIOD_BYTES", 10)
    with connect(port, b"POST /200 HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\n\r\n") as client:
        for _ in range(40):
            client.sendall(b"abcde")
            time.sleep(PERIOD_S / 10)
        assert answer_of(client).status == 200


def test_a_body_without_end_is_refused(port: int) -> None:
    start = b"POST /200 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"100000\r\n" + bytes(2**20) + b"\r\n"
    with connect(port, start) as client:
        for _ in range(66):
            client.sendall(piece)
        assert "64 MiB" in answer_of(client).require_problem(413)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while True:
                client.sendall(piece)
                time.sleep(0.01)


def test_expect_http_1_0_and_absolute_targets_are_served(port: int) -> None:
    with connect(port, b"POST /200 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n") as client:
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(b"{}")
        assert answer_of(client).status == 200
    assert exchange(port, b"GET /200 HTTP/1.0\r\n\r\n").status == 200
    assert b"/v1/labels" in exchange(port, b"GET http://h:1/v1/labels HTTP/1.1\r\nHost: h:1\r\n\r\n").body
    upgrade = HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n"
    assert exchange(port, upgrade).status == 200


def test_errors_of_the_proxy_are_problems_without_its_addresses(port: int) -> None:
    for path, status in (("404", 404), ("408", 408), ("503", 503), ("418", 418), ("silent", 500), ("defect", 500)):
        exchange(port, f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).require_problem(status)
    head = exchange(port, b"HEAD /503 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (head.status, head.media_type, head.body) == (503, "application/problem+json", b"")


def test_headers_that_steer_ray_are_dropped(port: int) -> None:
    steering = b"X-Request-Timeout-Seconds: 0.001\r\nserve_multiplexed_model_id: \xff\r\nX_Session_Id: a\r\n"
    assert json.loads(exchange(port, HEAD + steering + b"X-Request-Id: 7\r\n\r\n").body)[1] == ["host", "x-request-id"]


def test_a_proxy_that_drains_finishes_requests_and_refuses_new_ones(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(port, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n") as client:
        _wait_until(lambda: any(connection.is_busy for connection in protocol.BoundedProtocol.open))
        monkeypatch.setattr(Edge, "is_draining", True)
        exchange(port, HEAD + b"\r\n").require_problem(503)
        assert answer_of(client).status == 200
    _wait_until(lambda: not any(connection.is_busy for connection in protocol.BoundedProtocol.open))


def test_proxies_without_limits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(install.VARIABLE, install.IMPORT_PATH)
    install.require_installed()
    monkeypatch.delenv(install.VARIABLE)
    with pytest.raises(SynfundusError, match="controller_options"):
        install.require_installed()
    monkeypatch.setattr(uvicorn.Config, "load", lambda config: setattr(config, "http_protocol_class", None))
    with pytest.raises(SynfundusError, match="has no limits"):
        install.install()
