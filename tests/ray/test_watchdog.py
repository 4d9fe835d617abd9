"""The watchdog ends a process for real, so it is tried in processes of its own."""

from __future__ import annotations

import subprocess
import sys
import time

HEAD = "import ctypes, time\nfrom ray_jobs.watchdog import Watchdog\n"


def _run(code: str) -> tuple[subprocess.CompletedProcess[str], float]:
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=60)
    return done, time.monotonic() - started


def test_a_stuck_process_has_its_last_words_and_ends() -> None:
    done, _ = _run("Watchdog().arm(0.3, lambda: print('stuck', flush=True))\ntime.sleep(60)")
    assert (done.returncode, done.stdout) == (70, "stuck\n")
    assert "most recent call first" in done.stderr


def test_code_that_keeps_the_interpreter_lock_is_ended_too() -> None:
    # PyDLL calls without releasing the lock.
    done, seconds = _run("Watchdog(0.3).arm(0.3, lambda: None)\nctypes.PyDLL(None).sleep(60)")
    assert done.returncode == 1
    assert seconds < 30


def test_a_clip_that_ends_in_time_disarms_it_and_the_next_gets_its_full_time() -> None:
    clip = "    dog.arm(1.0, lambda: None)\n    time.sleep(0.4)\n    dog.disarm()\n"
    done, _ = _run(f"dog = Watchdog()\nfor _ in range(4):\n{clip}time.sleep(1.2)\nprint('alive')")
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_last_words_that_fail_do_not_save_the_process() -> None:
    done, _ = _run("Watchdog().arm(0.2, lambda: 1 / 0)\ntime.sleep(60)")
    assert done.returncode == 70
