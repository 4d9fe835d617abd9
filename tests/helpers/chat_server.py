"""A chat server on this machine that does what it is told, well or badly."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np


@dataclass
class Reply:
    """What to answer with. `document` goes out as JSON unless `body` is given."""

    status: int = 200
    document: Any = None
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0  # seconds before the answer
    cut: bool = False  # close the connection in the middle


def says(text: Any, **choice: Any) -> Reply:
    """A good answer, or one that is odd in the choice's own fields."""
    message = choice.pop("message", {"role": "assistant", "content": text})
    return Reply(document={"choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]})


@dataclass
class ChatServer:
    """Answers with `replies` in turn, and goes on with the last one. Remembers what it was sent."""

    address: str = ""
    replies: list[Reply] = field(default_factory=lambda: [says("A person waves.")])
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    most_at_once: int = 0
    _at_once: int = 0
    _lock: Any = field(default_factory=threading.Lock)

    def pictures(self, number: int = -1) -> list[Any]:
        """The pictures of a request, decoded: uint8 [H,W,3] BGR."""
        urls = [part["image_url"]["url"] for part in self.content(number) if part["type"] == "image_url"]
        kind = "data:image/jpeg;base64,"
        assert all(url.startswith(kind) for url in urls)
        raw = [np.frombuffer(base64.b64decode(url.removeprefix(kind)), np.uint8) for url in urls]
        return [cv2.imdecode(data, cv2.IMREAD_COLOR) for data in raw]

    def texts(self, number: int = -1) -> list[str]:
        return [part["text"] for part in self.content(number) if part["type"] == "text"]

    def content(self, number: int) -> list[dict[str, Any]]:
        (message,) = self.requests[number]["messages"]
        parts: list[dict[str, Any]] = message["content"]
        return parts

    def take(self, path: str, headers: dict[str, str], document: dict[str, Any]) -> Reply:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.paths.append(path)
            self.headers.append(headers)
            self.requests.append(document)
            reply = self.replies[min(len(self.requests), len(self.replies)) - 1]
        time.sleep(reply.pause)
        return reply

    def done(self) -> None:
        with self._lock:
            self._at_once -= 1


@contextmanager
def chat_server(*replies: Reply) -> Iterator[ChatServer]:
    """A server on a free port of the loopback address, for the length of the block."""
    state = ChatServer()
    if replies:
        state.replies = list(replies)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    state.address = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(state: ChatServer) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            reply = state.take(self.path, dict(self.headers), json.loads(content))
            body = reply.body if reply.body is not None else json.dumps(reply.document).encode()
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if reply.cut else body)
            except OSError:
                pass  # whoever asked has gone
            finally:
                state.done()

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
