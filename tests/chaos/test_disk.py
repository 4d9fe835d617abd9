"""The disk fills up, or may only be read."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from disturbed import RECIPE, check_one_line, finish, start
from mounts import resize, small_disk, turn
from verdict import rerun_and_compare

import wanprep
from wanprep.errors import StoreError

_PAGE = 4096  # bytes; a tmpfs counts in pages
_ROOMY = 64 << 20
_FULL, _READ_ONLY = "No space left on device", "Read-only file system"


def _fill_up(videos: Path, undisturbed: Path, disk: Path, judge: Callable[..., None], *pages: int) -> None:
    """Runs on a disk of so many pages, then on one that is large enough."""
    with small_disk(disk, _ROOMY):
        for number in pages:
            resize(disk, number * _PAGE)
            code, said = finish(start(videos, disk / "store"))
            assert code == 1, said
            check_one_line(said, _FULL)
        resize(disk, _ROOMY)
        verdict = rerun_and_compare(videos, disk / "store", undisturbed)
    judge("disk full", verdict, injected=len(pages))


def _pages(store: Path) -> int:
    return sum(-(-path.stat().st_size // _PAGE) for path in store.rglob("*") if path.is_file())


def test_disk_fills_up_between_commits(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None]
) -> None:
    _fill_up(videos, undisturbed, tmp_path / "disk", judge, _pages(undisturbed) // 2)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(10))
def test_disk_fills_up_anywhere(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None], seed: int
) -> None:
    chance = random.Random(seed)
    whole = _pages(undisturbed)
    _fill_up(videos, undisturbed, tmp_path / "disk", judge, *sorted(chance.sample(range(1, whole - 4), k=2)))


def test_store_that_may_only_be_read(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None]
) -> None:
    """It can be read, and a job with nothing to do runs; one with something to do says why it cannot."""
    half = sorted(videos.iterdir())[:4]
    disk = tmp_path / "disk"
    with small_disk(disk, _ROOMY):
        assert turn(disk, "ro")
        with pytest.raises(StoreError, match=_READ_ONLY):
            wanprep.run(half, store=disk / "store", preset=RECIPE, engine="inline")
        assert turn(disk, "rw")
        wanprep.run(half, store=disk / "store", preset=RECIPE, engine="inline")
        assert turn(disk, "ro")
        assert wanprep.run(half, store=disk / "store", preset=RECIPE, engine="inline").nothing_to_do
        with pytest.raises(StoreError, match=_READ_ONLY):
            wanprep.run(videos, store=disk / "store", preset=RECIPE, engine="inline")
        assert turn(disk, "rw")
        verdict = rerun_and_compare(videos, disk / "store", undisturbed)
    judge("store read-only", verdict, injected=2)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(4))
def test_store_turns_read_only_under_a_job(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None], seed: int
) -> None:
    disk = tmp_path / "disk"
    rows = random.Random(seed).randint(1, 3)
    with small_disk(disk, _ROOMY):
        process = start(videos, disk / "store", slow=0.2, seed=seed)
        while len(list(disk.glob("store/artifacts/flow/*.parquet"))) < rows:
            assert process.poll() is None
            time.sleep(0.01)
        while not turn(disk, "ro"):
            time.sleep(0.001)
        code, said = finish(process)
        assert code == 1, said
        check_one_line(said, _READ_ONLY)
        assert turn(disk, "rw")
        verdict = rerun_and_compare(videos, disk / "store", undisturbed)
    judge("store turns read-only", verdict)
