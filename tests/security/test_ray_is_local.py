"""The Ray that the engine starts on one machine can be reached from that machine only."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import ipaddress, json, os, psutil
from ray_jobs.session import connected
with connected(None, cpus=1, run="test"):
    import ray
    @ray.remote
    def bound():
        return os.getpid()
    ray.get(bound.remote())  # so that a worker listens too
    me = psutil.Process()
    found = []
    for process in [me, *me.children(recursive=True)]:
        for c in process.net_connections(kind="inet"):
            if c.status == psutil.CONN_LISTEN:
                found.append([process.name(), c.laddr.ip])
    dashboard = ray._private.worker._global_node.webui_url
print(json.dumps({"found": found, "dashboard": dashboard, "left": os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")}))
"""


@pytest.mark.slow
def test_all_its_sockets_are_on_the_loopback_address() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    listening = told["found"]
    assert len(listening) >= 4 and any("gcs_server" in process for process, _ in listening)
    for process, address in listening:
        assert address.removeprefix("::ffff:").startswith("127.") or address == "::1", (process, address)
    assert not told["dashboard"]
    assert told["left"] is None, "the switch is put back"
