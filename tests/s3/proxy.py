"""An HTTP proxy between client and server that writes down every request and, when told, breaks answers."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{said}</Message></Error>"
_HOP = {"connection", "transfer-encoding", "keep-alive", "date", "server", "content-length"}


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked for, and what it was told."""

    method: str
    path: str
    range: str | None
    status: int  # 0: the connection was cut
    nbytes: int  # of the answer's body


#: Given method and path: a status with its S3 error code and message, "reset", "half" (of the answer), seconds to
#: wait, or None to let it through.
Fault = Callable[[str, str], tuple[int, str, str] | str | float | None]


class Proxy(ThreadingHTTPServer):
    """Forwards to `port` on this machine."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = port
        self.requests: list[Request] = []
        self.begun = 0  # requests, also those that are not answered yet
        self.fault: Fault = lambda method, path: None
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def note(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)

    def of(self, method: str, part: str) -> list[Request]:
        """The requests of a method whose path holds `part`."""
        return [one for one in list(self.requests) if one.method == method and part in one.path]

    @contextmanager
    def breaking(self, fault: Fault) -> Iterator[list[Request]]:
        """Breaks answers for a while; gives the requests of that while."""
        self.fault, self.requests, self.begun = fault, [], 0
        try:
            yield self.requests
        finally:
            self.fault = lambda method, path: None

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are what this proxy is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Proxy

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.begun += 1
        fault = self.server.fault(self.command, self.path)
        if fault == "reset":
            self._note(0, 0)
            # Lingering for no time sends RST in place of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if isinstance(fault, tuple):
            status, code, said = fault
            answer = b"" if self.command == "HEAD" else _ERROR.format(code=code, said=said).encode()
            self._answer(status, {"Content-Type": "application/xml"}, answer, len(answer))
            return
        if isinstance(fault, float):
            time.sleep(fault)
        server = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=30)
        server.request(self.command, self.path, body, dict(self.headers))
        response = server.getresponse()
        data = response.read()
        headers = {name: value for name, value in response.getheaders() if name.lower() not in _HOP}
        length = int(response.getheader("Content-Length") or len(data))
        server.close()
        if fault == "half" and len(data) > 1:
            data = data[: len(data) // 2]
            self.close_connection = True
        self._answer(response.status, headers, data, length)

    def _answer(self, status: int, headers: dict[str, str], data: bytes, length: int) -> None:
        self._note(status, len(data))
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(data)

    def _note(self, status: int, nbytes: int) -> None:
        self.server.note(Request(self.command, self.path, self.headers.get("Range"), status, nbytes))

    def log_message(self, format: str, *args: object) -> None:
        """Requests are in `requests`, not on stderr."""

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward


def now_and_then(seed: int, share: float) -> Fault:
    """A share of the requests, the same ones each time, meets a 500, a reset, half an answer or a short wait."""
    lock, source = threading.Lock(), random.Random(seed)

    def fault(method: str, path: str) -> tuple[int, str, str] | str | float | None:
        with lock:
            if source.random() >= share:
                return None
            kind = source.choice(["500", "503", "reset", "half", "wait"])
        if kind == "500":
            return 500, "InternalError", "We encountered an internal error. Please try again."
        if kind == "503":
            return 503, "SlowDown", "Please reduce your request rate."
        return 0.2 if kind == "wait" else kind

    return fault
