"""A Ray that the engine starts and ends itself, seen from outside of the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from small_jobs import Ears, prepare

from ray_jobs.preprocess import run
from wanprep.errors import UsageError

HERE = str(Path(__file__).parent)
PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from small_jobs import Ears, prepare
from ray_jobs.preprocess import run
stages = {{"test_moody": {{"diary": {diary!r}}}}}
job, tasks = prepare(Path({folder!r}), ["segfault", "a", "hang"], stages, seconds_per_clip=600.0)
try:
    run(job, tasks, Ears())
except KeyboardInterrupt:
    print("stopped")
"""


def test_nothing_to_do_and_the_impossible_need_no_ray(tmp_path: Path) -> None:
    import ray

    job, tasks = prepare(tmp_path, ["a"], {"test_greedy": {}})
    run(job, [], Ears())
    with pytest.raises(UsageError, match="stage test_greedy wants 999 CPUs a worker") as caught:
        run(job, tasks, Ears())
    assert "\n" not in str(caught.value)
    assert not ray.is_initialized()


@pytest.mark.slow
def test_neither_a_crash_nor_ctrl_c_makes_a_noise(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    code = PROGRAM.format(here=HERE, folder=str(tmp_path), diary=str(diary))
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
    )
    deadline = time.monotonic() + 120
    begun: list[str] = []
    while not (begun.count("segfault") == 2 and "hang" in begun) and time.monotonic() < deadline:
        time.sleep(0.2)
        begun = [line.split()[1] for line in diary.read_text().splitlines()] if diary.exists() else []
    assert begun.count("segfault") == 2 and "hang" in begun and process.poll() is None
    time.sleep(2.0)  # the news of the second crash is on its way
    family = psutil.Process(process.pid).children(recursive=True)
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - started < 10, "2 to 3 s on a quiet machine"
    assert (process.returncode, out, err) == (0, "stopped\n", "")
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == [], "Ray has gone with it"
