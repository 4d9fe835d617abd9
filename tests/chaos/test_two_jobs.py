"""Two jobs on one store at once. A key that both make lies there once, or equal in two files."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from disturbed import finish, start
from verdict import rerun_and_compare


def _both(
    first: Sequence[Path], second: Sequence[Path], store: Path, *, slow: float, seed: int, die: str = ""
) -> None:
    jobs = [
        start(first, store, slow=slow, seed=2 * seed),
        start(second, store, slow=slow, seed=2 * seed + 1, die=die),
    ]
    for job, wanted in zip(jobs, (0, -signal.SIGKILL if die else 0), strict=True):
        code, said = finish(job)
        assert code == wanted, said


def test_the_same_clips(videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None]) -> None:
    clips = sorted(videos.iterdir())
    _both(clips, clips, tmp_path / "store", slow=0.05, seed=0)
    verdict = rerun_and_compare(videos, tmp_path / "store", undisturbed)
    assert verdict.reruns == 0
    judge("two jobs, same clips", verdict, twice_allowed=True)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(6))
def test_the_same_clips_at_other_moments(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None], seed: int
) -> None:
    clips = sorted(videos.iterdir())
    _both(clips, clips, tmp_path / "store", slow=random.Random(seed).uniform(0, 0.4), seed=seed)
    judge(
        "two jobs, same clips", rerun_and_compare(videos, tmp_path / "store", undisturbed), twice_allowed=True
    )


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(6))
def test_some_clips_in_common(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None], seed: int
) -> None:
    """Cut into tasks in different ways, so that their files have different names."""
    clips = sorted(videos.iterdir())
    _both(clips, clips[3:], tmp_path / "store", slow=0.3, seed=seed)
    verdict = rerun_and_compare(videos, tmp_path / "store", undisturbed)
    judge("two jobs, clips in common", verdict, twice_allowed=True)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(4))
def test_one_of_them_killed(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None], seed: int
) -> None:
    clips = sorted(videos.iterdir())
    death = f"before:{random.Random(seed).randint(3, 7)}"
    _both(clips, clips[2:], tmp_path / "store", slow=0.3, seed=seed, die=death)
    verdict = rerun_and_compare(videos, tmp_path / "store", undisturbed)
    judge("two jobs, one killed", verdict, twice_allowed=True)
