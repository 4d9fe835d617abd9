"""The Ray engine with inputs and store in a bucket: workers find server and credentials in their environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.compare import contents
from s3.conftest import KEY_ID, SECRET, TOKEN, Server

import wanprep
from wanprep.store.store import Store
from wanprep.store.verify import verify

pytestmark = pytest.mark.chaos


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Ray's own files, short of name: a socket's path may have 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="wr-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_job_of_two_workers_on_a_bucket(
    server: Server, bucket: str, inputs: str, made: str, store: str, ray_folder: Path
) -> None:
    command = [sys.executable, "-m", "wanprep", "run", inputs, "--store", store, "--preset", "motion"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [*command, "--engine", "ray", "--workers", "2", "--json"],
        env={**environment, "RAY_TMPDIR": str(ray_folder)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert '"engine": "ray"' in done.stdout
    assert server.proxy.of("PUT", "/artifacts/flow/part-"), "the workers have met the server"
    assert contents(store) == contents(made)
    report = verify(Store.open(store))
    assert report.clean and not report.missing and not report.temporaries
    assert wanprep.run(inputs, store=store, preset="motion", engine="inline").nothing_to_do
    logs = [path for path in ray_folder.rglob("*") if path.is_file()]
    assert any(path.name.startswith("worker-") for path in logs), "Ray's logs are there to be searched"
    for secret in (KEY_ID, SECRET, TOKEN):
        assert secret not in done.stdout + done.stderr
        for path in logs:
            assert secret.encode() not in path.read_bytes(), path
