"""Compaction beside a live run: it moves what the run has made, and what the run still reads."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from disturbed import RECIPE, finish, start, start_compaction
from verdict import rerun_and_compare

import wanprep
from wanprep.store.compact import compact

pytestmark = pytest.mark.chaos

_GRACE_SECONDS = 3600.0


def _until_shards(process: subprocess.Popen[str], store: Path) -> None:
    while len(list(store.glob("artifacts/flow/part-*.parquet"))) < 2:
        assert process.poll() is None, "the run ended before anything could be merged"
        time.sleep(0.01)


@pytest.mark.parametrize("seed", range(4))
def test_beside_a_run(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None], seed: int
) -> None:
    """Again and again while it goes on. With an odd seed what the run takes in was made before, in small shards."""
    chance = random.Random(seed)
    store = tmp_path / "store"
    if seed % 2:
        for clip in sorted(videos.iterdir()):
            wanprep.run(clip, store=store, preset=RECIPE, only=["flow"], engine="inline")
    process = start(videos, store, slow=0.4, seed=seed)
    _until_shards(process, store)
    merged = rounds = 0
    while process.poll() is None:
        merged += compact(str(store), grace_seconds=_GRACE_SECONDS).merged
        rounds += 1
        time.sleep(chance.uniform(0.05, 0.3))
    code, said = finish(process)
    assert code == 0, said
    assert merged, "it merged nothing while the run went on"
    compact(str(store), grace_seconds=_GRACE_SECONDS)
    verdict = rerun_and_compare(videos, store, undisturbed)
    assert verdict.reruns == 0, "nothing was lost meanwhile"
    judge("compaction beside a run", verdict, injected=rounds)


@pytest.mark.parametrize("seed", range(3))
def test_both_killed(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None], seed: int
) -> None:
    """The compaction in the middle, then the run; both again."""
    chance = random.Random(seed)
    store = tmp_path / "store"
    process = start(videos, store, slow=0.4, seed=seed)
    _until_shards(process, store)
    # Its lock is the first file; a note of what it retires, tensors and rows of a merged shard are the next ones.
    death = f"{chance.choice(['before', 'after'])}:{chance.randint(2, 4)}"
    code, said = finish(start_compaction(store, die=death))
    assert code == -signal.SIGKILL, said
    process.kill()
    finish(process)
    code, said = finish(start(videos, store))
    assert code == 0, said
    code, said = finish(start_compaction(store))
    assert code == 0, said
    verdict = rerun_and_compare(videos, store, undisturbed)
    verdict.reruns += 1
    judge("compaction and run killed", verdict, injected=2)
