"""A real S3 server on this machine, behind a proxy that sees and breaks requests."""

from __future__ import annotations

import io
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from helpers.media import write_video
from s3.proxy import Proxy
from s3fs import S3FileSystem

import wanprep
from wanprep.cli import main

#: Recognisable, so that they can be searched for in everything that is written.
KEY_ID, SECRET, TOKEN = "AKIAPLANTEDKEYID0001", "plantedSecret/with+slash", "plantedSessionToken=="


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _send(url: str, data: bytes = b"", method: str = "PUT") -> bytes:
    headers = {
        "Content-Type": "text/plain",
        "Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request",
    }
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


class Server:
    """The server and the proxy that clients meet in its place."""

    def __init__(self, port: int) -> None:
        self.direct = f"http://127.0.0.1:{port}"
        self.proxy = Proxy(port)
        self._buckets = 0

    def make_bucket(self) -> str:
        self._buckets += 1
        name = f"bucket{self._buckets}"
        _send(f"{self.direct}/{name}")
        return name

    def put(self, path: str, data: bytes) -> str:
        """Writes an object past the proxy; gives its address."""
        _send(f"{self.direct}/{path}", data)
        return f"s3://{path}"

    def check_credentials(self, on: bool) -> None:
        """The server takes any credentials, until it is told to look at them."""
        _send(f"{self.direct}/moto-api/reset-auth", b"0" if on else b"inf", "POST")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    port = _free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    made = Server(port)
    thread = threading.Thread(target=made.proxy.serve_forever, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                _send(f"{made.direct}/", method="GET")
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
        yield made
    finally:
        made.proxy.shutdown()
        made.proxy.server_close()
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture(scope="module", autouse=True)
def settings(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a user sets in the environment, and nothing of the machine's own."""
    nothing = tmp_path_factory.mktemp("home") / "nothing"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": server.proxy.url,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_SESSION_TOKEN": TOKEN,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "4",
            "AWS_CONFIG_FILE": str(nothing),
            "AWS_SHARED_CREDENTIALS_FILE": str(nothing),
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }.items():
            patch.setenv(name, value)
        S3FileSystem.clear_instance_cache()
        yield
        S3FileSystem.clear_instance_cache()


@pytest.fixture(autouse=True)
def no_requests_yet(server: Server) -> None:
    server.proxy.requests = []


@pytest.fixture(scope="module")
def bucket(server: Server) -> str:
    """The name of a bucket of the module's own; tests take stores of their own in it."""
    return server.make_bucket()


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small videos on the disk, long enough for a tensor file."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(2):
        write_video(folder / f"{number}.mp4", 40, size=(160, 120), seed=number * 10)
    return folder


@pytest.fixture(scope="module")
def inputs(server: Server, bucket: str, films: Path) -> str:
    """The address of a folder with the same videos in the bucket; not to be changed."""
    for film in films.iterdir():
        server.put(f"{bucket}/in/{film.name}", film.read_bytes())
    return f"s3://{bucket}/in"


@pytest.fixture(scope="module")
def made(settings: None, bucket: str, inputs: str) -> str:
    """The address of a store of these videos that nothing disturbed; not to be changed."""
    store = f"s3://{bucket}/made"
    wanprep.run(inputs, store=store, preset="motion", engine="inline")
    return store


@pytest.fixture
def store(bucket: str, request: pytest.FixtureRequest) -> str:
    """An address for the test's own store."""
    return f"s3://{bucket}/{re.sub(r'[^a-z0-9]+', '-', request.node.name.lower())}/store"


Program = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The command line in this process, with settings on top of the environment; None takes one away."""

    def run(*arguments: str, **settings: str | None) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        code: Any = 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in settings.items():
                patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", ["wanprep", *arguments])
            # What it costs to reach a server is not asked here, and settings are read by new clients only.
            patch.setattr(S3FileSystem, "retries", 2)
            S3FileSystem.clear_instance_cache()
            try:
                main()
            except SystemExit as end:
                code = end.code
            finally:
                S3FileSystem.clear_instance_cache()
        return subprocess.CompletedProcess(arguments, code or 0, out.getvalue(), err.getvalue())

    return run
