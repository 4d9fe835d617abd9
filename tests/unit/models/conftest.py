"""A home and a hub of a test's own."""

from __future__ import annotations

import hashlib
import json
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from wanprep import doctor
from wanprep.models import digest, fetch, listing, places, registry, resolve

COMMIT = "c0ffee" + "0" * 34


class Hub:
    """A hub on this machine: repositories of bytes, requests counted, failures on demand."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}  # repository -> path -> content
        self.commit = COMMIT
        self.requests: Counter[tuple[str, str]] = Counter()  # method, file
        self.ranges: list[str] = []
        self.cut: Counter[str] = Counter()  # file -> times its body ends half way
        self.busy: Counter[str] = Counter()  # file -> times its body is answered with 503
        self.refuse: dict[str, int] = {}  # file -> status given instead
        self.listed: list[str] = []  # what the file list names beyond the files
        self.address = ""
        self._lock = threading.Lock()

    def count(self, request: BaseHTTPRequestHandler, file: str) -> None:
        with self._lock:
            self.requests[(request.command, file)] += 1
            if "Range" in request.headers:
                self.ranges.append(f"{file} {request.headers['Range']}")


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        return None

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0].lstrip("/")
        if path.startswith("api/models/"):
            repository, _, revision = path.removeprefix("api/models/").partition("/revision/")
            self._file_list(repository)
            return
        if "/resolve/" not in path:  # the hub's library has questions of its own
            self._empty(404)
            return
        repository, _, rest = path.partition("/resolve/")
        revision, _, file = rest.partition("/")
        self.hub.count(self, file)
        content = self.hub.files.get(repository, {}).get(file)
        if file in self.hub.refuse:
            self._empty(self.hub.refuse[file])
        elif body and self.hub.busy[file] > 0:
            self.hub.busy[file] -= 1
            self._empty(503)
        elif repository not in self.hub.files:
            self._empty(404, "RepoNotFound")
        elif revision not in (self.hub.commit, "main"):
            self._empty(404, "RevisionNotFound")
        elif content is None:
            self._empty(404, "EntryNotFound")
        else:
            self._send(file, content, body)

    def _send(self, file: str, content: bytes, body: bool) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.hub.commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not body:
            return
        if self.hub.cut[file] > 0:
            self.hub.cut[file] -= 1
            self.wfile.write(content[start : start + (len(content) - start) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(content[start:])

    def _file_list(self, repository: str) -> None:
        self.hub.count(self, "list")
        if repository not in self.hub.files:
            self._empty(404, "RepoNotFound")
            return
        files = self.hub.files[repository]
        siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
        siblings += [{"rfilename": name, "size": 1} for name in self.hub.listed]
        text = json.dumps({"id": repository, "sha": self.hub.commit, "siblings": siblings}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _empty(self, status: int, code: str | None = None) -> None:
        self.send_response(status)
        if code is not None:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches of this test alone; nothing reaches out of this machine."""
    for name in ("WANPREP_MODELS", "HF_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(digest, "_memory", {})
    return tmp_path


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., registry.ModelEntry]:
    """Adds a model to the registry, for one test and this process."""

    def add(**fields: Any) -> registry.ModelEntry:
        common = {"about": "for tests", "revision": COMMIT, "licence": "apache-2.0"}
        entry = registry.ModelEntry.model_validate({**common, **fields})
        everything = {**registry.entries(), entry.name: entry}
        for module in (registry, fetch, resolve, places, listing, doctor):
            monkeypatch.setattr(module, "entries", lambda: everything)
        return entry

    return add


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    made = Hub()
    handler = type("Handler", (_Handler,), {"hub": made})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    made.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", made.address)
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def safetensors_bytes(**tensors: tuple[str, list[int], int]) -> bytes:
    """A safetensors file: name -> dtype, shape, bytes of one value."""
    header: dict[str, Any] = {}
    data = b""
    for name, (dtype, shape, fill) in tensors.items():
        count = 1
        for size in shape:
            count *= size
        content = bytes([fill]) * (4 * count)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture
def write_model() -> Callable[..., Path]:
    """Writes a folder that has the files of a model; `shards` of them under an index."""

    def write(folder: Path, shards: int = 0, fill: int = 1) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text('{"model_type": "nothing"}')
        weights = safetensors_bytes(weight=("F32", [2, 3], fill))
        if not shards:
            (folder / "model.safetensors").write_bytes(weights)
            return folder
        names = [f"model-{number:05d}-of-{shards:05d}.safetensors" for number in range(1, shards + 1)]
        for name in names:
            (folder / name).write_bytes(weights)
        weight_map = {f"weight{number}": name for number, name in enumerate(names)}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        return folder

    return write
