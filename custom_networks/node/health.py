"""`/healthz`: the node's status and counts as JSON, for monitoring on the same machine."""

import json
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from custom_networks.errors import UsageError

LOOPBACK = "127.0.0.1"
PATH = "/healthz"


class HealthServer:
    """Answers `GET /healthz` on the loopback address: 200 if the node is healthy, else 503. Other paths get 404.

    Args:
        port: port to listen on; 0 selects a free port.
        state: function that returns whether the node is healthy, and its counts.

    Attributes:
        port: the port that it listens on.

    Raises:
        UsageError: the port cannot be used.
    """

    def __init__(self, port: int, state: Callable[[], tuple[bool, Mapping[str, object]]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                _answer(self, state)

            def log_message(self, format: str, *args: object) -> None:
                """Do not log requests, because their text comes from the client."""

        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), Handler)
        except OSError as error:
            raise UsageError(
                f"Port {port} of {LOOPBACK} cannot be used ({error.strerror}): give another --http-port."
            ) from error
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="healthz", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _answer(request: BaseHTTPRequestHandler, state: Callable[[], tuple[bool, Mapping[str, object]]]) -> None:
    is_healthy, facts = state() if request.path == PATH else (True, {})
    status = HTTPStatus.OK if is_healthy else HTTPStatus.SERVICE_UNAVAILABLE
    body = json.dumps({"status": "ok" if is_healthy else "failing", **facts}).encode() + b"\n"
    request.send_response(status if facts else HTTPStatus.NOT_FOUND)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body) if facts else 0))
    request.end_headers()
    if facts:
        request.wfile.write(body)
