"""SIGKILL of the driver with the inline engine, at each step of its commits and at seeded moments."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from disturbed import finish, start
from verdict import rerun_and_compare

from wanprep.store import Store


@pytest.fixture(scope="session")
def commits(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many files an undisturbed run commits."""
    folder = tmp_path_factory.mktemp("commits")
    code, said = finish(start(videos, folder / "store", count=folder / "count"))
    assert code == 0, said
    return int((folder / "count").read_text())


def _die_at(videos: Path, undisturbed: Path, store: Path, judge: Callable[..., None], *deaths: str) -> None:
    for death in deaths:
        code, said = finish(start(videos, store, die=death))
        assert code == -signal.SIGKILL, said
    fault = "driver killed twice" if len(deaths) > 1 else f"driver killed {deaths[0].split(':')[0]} a commit"
    judge(fault, rerun_and_compare(videos, store, undisturbed), injected=len(deaths))


def test_before_there_is_a_store_and_between_tensors_and_rows(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None]
) -> None:
    store = tmp_path / "store"
    for death in ("before:1", "before:7"):
        code, said = finish(start(videos, store, die=death))
        assert code == -signal.SIGKILL, said
    assert Store.open(str(store)).unreferenced(), "tensors without rows"
    judge("driver killed before a commit", rerun_and_compare(videos, store, undisturbed), injected=2)


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("moment", "step"), [("before", 1), ("after", 3)])
def test_every_commit(
    videos: Path,
    undisturbed: Path,
    tmp_path: Path,
    judge: Callable[..., None],
    commits: int,
    moment: str,
    step: int,
) -> None:
    assert commits > 16, "four tasks of tensors, rows and rows, and what surrounds them"
    for number in range(1, commits + 1, step):
        _die_at(videos, undisturbed, tmp_path / f"{number}", judge, f"{moment}:{number}")


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(6))
def test_killed_again_and_again(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None], seed: int
) -> None:
    chance = random.Random(seed)
    deaths = [f"{chance.choice(['before', 'after'])}:{chance.randint(2, 5)}" for _ in range(2)]
    _die_at(videos, undisturbed, tmp_path / "store", judge, *deaths)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(12))
def test_any_moment(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None], seed: int
) -> None:
    process = start(videos, tmp_path / "store", slow=0.05, seed=seed)
    delay = random.Random(seed).uniform(0.3, 3.0)
    time.sleep(delay)
    process.kill()
    finish(process)
    judge("driver killed at any moment", rerun_and_compare(videos, tmp_path / "store", undisturbed))
