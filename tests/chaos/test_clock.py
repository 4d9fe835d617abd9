"""The wall clock jumps between runs: an hour back, a day ahead."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from disturbed import RECIPE, finish, start
from helpers.bench import Bench
from helpers.stages import broken
from verdict import rerun_and_compare

import wanprep
from wanprep.store import Store

_HOUR, _DAY = 3600, 86_400
_now_ns = time.time_ns


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has this process believe that it is so many seconds later."""

    def shift(seconds: int) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: _now_ns() + seconds * 1_000_000_000)

    return shift


def test_the_last_run_counts_though_its_clock_is_behind(
    videos: Path,
    undisturbed: Path,
    tmp_path: Path,
    judge: Callable[..., None],
    set_clock: Callable[[int], None],
) -> None:
    """Clips enrolled tomorrow under another recipe, then an hour ago under this one."""
    store = tmp_path / "store"
    set_clock(_DAY)
    wanprep.run(videos, store=store, preset=RECIPE, only=["quality"], engine="inline")
    set_clock(-_HOUR)
    wanprep.run(videos, store=store, preset=RECIPE, engine="inline")
    set_clock(0)
    verdict = rerun_and_compare(videos, store, undisturbed)
    assert verdict.reruns == 0, "the clock is no part of a key"
    judge("clock jumps", verdict, injected=2)


def test_the_last_outcome_counts_though_its_clock_is_behind(
    tmp_path: Path, add_stages: Callable[..., None], set_clock: Callable[[int], None]
) -> None:
    bench = Bench(tmp_path, add_stages)
    bench.rows.append({"id": "a", "video": bench.video("a.mp4"), "prompt": "x"})
    set_clock(_DAY)
    add_stages(broken(ValueError("as it was tomorrow")))
    bench.run()
    set_clock(-_HOUR)
    add_stages(broken(ValueError("as it is now")))
    bench.run(retry_failed=True)
    outcome = Store.open(str(bench.store)).outcome(bench.clip("a").record.keys["count"])
    assert outcome is not None and outcome.cause == "ValueError: as it is now"


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(6))
def test_killed_under_a_wrong_clock(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None], seed: int
) -> None:
    chance = random.Random(seed)
    store = tmp_path / "store"
    clocks = [_DAY, -_HOUR, 0]
    chance.shuffle(clocks)
    for clock in clocks:
        death = f"{chance.choice(['before', 'after'])}:{chance.randint(2, 5)}"
        code, said = finish(start(videos, store, clock=clock, die=death))
        assert code == -signal.SIGKILL, said
    judge("driver killed under a wrong clock", rerun_and_compare(videos, store, undisturbed), injected=3)


@pytest.mark.chaos
def test_a_clock_ahead_takes_no_file_from_a_live_job(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None]
) -> None:
    """A second job that believes it to be tomorrow cleans up while the first one writes."""
    store = tmp_path / "store"
    first = start(videos, store, slow=0.4)
    while not list(store.glob("artifacts/flow/*")):
        assert first.poll() is None
    half = sorted(videos.iterdir())[:2]
    for _ in range(3):
        code, said = finish(start(half, store, clock=2 * _DAY))
        assert code == 0, said
    code, said = finish(first)
    assert code == 0, said
    verdict = rerun_and_compare(videos, store, undisturbed)
    judge("clock ahead beside a live job", verdict, injected=3, twice_allowed=True)
    assert wanprep.run(videos, store=store, preset=RECIPE, engine="inline").nothing_to_do
