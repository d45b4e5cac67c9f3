"""A port of a pod on this machine, through the API server: for the dashboard, without kubectl."""

import select
import socket
import socketserver
from typing import Any

from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward

from synfundus.cluster.kube import Namespace
from synfundus.errors import SynfundusError

CHUNK = 65536


class _Relay(socketserver.BaseRequestHandler):
    """One connection."""

    server: "Forwarder"

    def handle(self) -> None:
        here: socket.socket = self.request
        try:
            there = self.server.open_there()
        except SynfundusError as error:
            self.server.give_up(str(error))
            return
        ends = {here: there, there: here}
        try:
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    data = end.recv(CHUNK)
                    if not data:
                        return
                    ends[end].sendall(data)
        except OSError:
            return  # either end hung up
        finally:
            there.close()


class Forwarder(socketserver.ThreadingTCPServer):
    """Listens on 127.0.0.1 and relays every connection to a port of a pod, until the pod cannot be reached."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, namespace: Namespace, pod: str, pod_port: int, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Relay)
        self._namespace, self._pod, self._pod_port = namespace, pod, pod_port
        self.failure: str | None = None
        """Why it ended."""

    def give_up(self, why: str) -> None:
        """End `serve_forever`."""
        self.failure = why
        self.shutdown()

    def open_there(self) -> Any:
        """A connection to the pod, as a socket."""
        try:
            opened = portforward(
                self._namespace.core.connect_get_namespaced_pod_portforward,
                self._pod,
                self._namespace.name,
                ports=str(self._pod_port),
            )
        except ApiException as error:
            reason = str(error.reason).partition(" -+-")[0]  # without the headers of the answer
            raise SynfundusError(f"cannot reach pod {self._pod}: {reason}") from error
        return opened.socket(self._pod_port)
