"""Forward a port of this machine to a port of a pod, through the API server, for the dashboard. Needs no kubectl."""

import select
import socket
import socketserver
from typing import Any

from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward

from synfundus.cluster.kube import Namespace
from synfundus.errors import SynfundusError

CHUNK_BYTES = 65536


class _Relay(socketserver.BaseRequestHandler):
    """Relays one connection."""

    server: "Forwarder"

    def handle(self) -> None:
        local: socket.socket = self.request
        try:
            remote = self.server.connect_to_pod()
        except SynfundusError as error:
            self.server.fail(str(error))
            return
        peers = {local: remote, remote: local}
        try:
            while True:
                for end in select.select(list(peers), [], [])[0]:
                    data = end.recv(CHUNK_BYTES)
                    if not data:
                        return
                    peers[end].sendall(data)
        except OSError:
            return  # one side closed the connection
        finally:
            remote.close()


class Forwarder(socketserver.ThreadingTCPServer):
    """Listens on 127.0.0.1 and relays each connection to a port of a pod; ends once the pod cannot be reached."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, namespace: Namespace, pod: str, pod_port: int, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Relay)
        self._namespace, self._pod, self._pod_port = namespace, pod, pod_port
        self.failure: str | None = None
        """Reason why the forwarder ended."""

    def fail(self, reason: str) -> None:
        """End `serve_forever` because of `reason`."""
        self.failure = reason
        self.shutdown()

    def connect_to_pod(self) -> Any:
        """Return a connection to the pod, as a socket.

        Raises:
            SynfundusError: the pod cannot be reached.
        """
        try:
            opened = portforward(
                self._namespace.core.connect_get_namespaced_pod_portforward,
                self._pod,
                self._namespace.name,
                ports=str(self._pod_port),
            )
        except ApiException as error:
            reason = str(error.reason).partition(" -+-")[0]  # drops the headers of the response
            raise SynfundusError(f"cannot reach pod {self._pod}: {reason}") from error
        return opened.socket(self._pod_port)
