"""A key that two jobs made at the same moment lies in two files. It does no harm, and compaction leaves one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from disturbed import RECIPE
from verdict import copies, rerun_and_compare

import wanprep
from wanprep import registry
from wanprep.engine import inline
from wanprep.engine.job import Job, Listener, Task
from wanprep.store import Store
from wanprep.store.compact import compact
from wanprep.store.verify import verify


@pytest.fixture
def doubled(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store in which a second job planned and made five clips after a first one had planned all eight. They cut
    their tasks differently, so that their files have different names."""
    store = tmp_path / "store"
    clips = sorted(videos.iterdir())

    def overtaken(job: Job, tasks: Sequence[Task], listener: Listener) -> None:
        wanprep.run(clips[1:6], store=store, preset=RECIPE, engine="inline")
        inline.run(job, tasks, listener)

    monkeypatch.setattr(registry, "engine", lambda name: overtaken if name == "overtaken" else inline.run)
    wanprep.run(clips, store=store, preset=RECIPE, engine="overtaken", workers=1)
    return store


def test_copies_are_equal_and_readers_take_one(
    doubled: Path, videos: Path, undisturbed: Path, judge: Callable[..., None]
) -> None:
    found = copies(doubled)
    twice = {key for key, rows in found.items() if len(rows) > 1}
    assert {stage for stage, _ in twice} == {"flow", "quality"} and len(twice) == 10
    assert all(row == rows[0] for rows in found.values() for row in rows)
    for ours, theirs in zip(
        wanprep.open(str(doubled)).clips(), wanprep.open(str(undisturbed)).clips(), strict=True
    ):
        assert ours.id == theirs.id
        np.testing.assert_array_equal(ours.flow.blocks[:], theirs.flow.blocks[:])
        np.testing.assert_array_equal(ours.quality.brightness_T[:], theirs.quality.brightness_T[:])
    status = wanprep.open(str(doubled))
    assert len(status.clip_records()) == len(list(videos.iterdir())), "clips are not counted twice"
    verdict = rerun_and_compare(videos, doubled, undisturbed)
    assert verdict.reruns == 0, "what is there twice is not to do"
    judge("copies of a key", verdict, twice_allowed=True)


def test_compaction_leaves_one(
    doubled: Path, videos: Path, undisturbed: Path, judge: Callable[..., None]
) -> None:
    done = compact(str(doubled), grace_seconds=0)
    assert not done.problems
    assert all(len(rows) == 1 for rows in copies(doubled).values())
    report = verify(Store.open(str(doubled)))
    assert report.clean and not report.missing and not report.temporaries
    judge("copies of a key, compacted", rerun_and_compare(videos, doubled, undisturbed))
