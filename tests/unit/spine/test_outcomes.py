"""Done, skipped or failed: nothing disappears, and what depends on it follows."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.bench import Bench
from helpers.stages import BEGUN, Count, CountConfig, Digest, Note, broken, on_gpu, skipping

import wanprep
from wanprep.states import State
from wanprep.store import Store


def test_failure_blocks_what_comes_after_until_it_is_tried_again(bench: Bench) -> None:
    bench.add_stages(broken(ValueError("no good")))
    summary = bench.run()
    assert (summary.failed, summary.stages["note"].failed, summary.stages["digest"].failed) == (6, 2, 2)
    causes = {(failure.stage, failure.cause) for failure in summary.failures}
    assert causes == {
        ("count", "ValueError: no good"),
        ("note", "needs count, which failed for this clip"),
        ("digest", "needs count, which failed for this clip"),
    }
    bench.add_stages(Count)
    again = bench.run()
    assert again.nothing_to_do and again.failed == 6
    assert bench.counts(State.FAILED) == {"count": 2, "note": 0, "digest": 0}
    assert bench.counts(State.BLOCKED) == {"count": 0, "note": 2, "digest": 2}
    assert bench.counts(State.TO_DO, retry_failed=True) == {"count": 2, "note": 2, "digest": 2}
    assert bench.run(retry_failed=True).failed == 0
    assert bench.counts(State.DONE) == {"count": 2, "note": 2, "digest": 2}
    assert wanprep.open(str(bench.store)).clip("a").note.inputs == ["count"]


def test_new_stage_behind_a_failed_one_is_blocked(bench: Bench) -> None:
    bench.add_stages(broken(ValueError("no good")))
    bench.recipe["stages"] = {"count": {}}
    bench.run()
    bench.recipe["stages"] = {"count": {}, "note": {}, "digest": {}}
    assert bench.counts(State.BLOCKED) == {"count": 0, "note": 2, "digest": 2}
    assert bench.run().nothing_to_do and BEGUN == []


def test_failure_of_one_clip_leaves_the_others(bench: Bench) -> None:
    class Picky(Count):
        def begin(self, context: Any, inputs: Any) -> Any:
            if context.clip.clip_id == "a":
                raise RuntimeError("not\nthis  one")
            return Count.begin(self, context, inputs)

    bench.add_stages(Picky)
    summary = bench.run()
    assert {f.cause for f in summary.failures if f.stage == "count"} == {"RuntimeError: not this one"}
    assert bench.clip("b").count.frames == 6
    (row,) = [row for row in Store.open(str(bench.store)).outcomes() if row.stage == "count"]
    assert row.traceback is not None and "in begin" in row.traceback


def test_skipped_is_settled_and_passed_on(bench: Bench) -> None:
    bench.add_stages(skipping("too dark", 0.1))
    summary = bench.run()
    assert summary.failed == 0
    assert {name: s.skipped for name, s in summary.stages.items()} == {"count": 2, "note": 2, "digest": 0}
    assert bench.clip("a").digest.inputs == [], "what it only uses may be missing"
    assert bench.run(retry_failed=True).nothing_to_do


def test_reason_of_an_earlier_skip_is_kept_for_a_new_stage(bench: Bench) -> None:
    """A stage added later said 'count has no artifact' where the first run knew why."""
    bench.add_stages(skipping("too dark", 0.1))
    del bench.recipe["stages"]["note"]
    bench.run()
    bench.recipe["stages"]["note"] = {}
    bench.run()
    with pytest.raises(AttributeError, match=r"note was skipped: count: too dark \(0\.1\)"):
        _ = bench.clip("a").note


def test_record_that_does_not_fit_its_schema_fails_its_clip_only(bench: Bench) -> None:
    """It ended the job with a traceback when the shard was committed, and took the task's other clips with it."""

    class Odd(Note):
        def run(self, context: Any, inputs: Any) -> Any:
            made: Any = Note.run(self, context, inputs)
            return type(made)(text=None, inputs=[]) if context.clip.clip_id == "a" else made  # type: ignore[arg-type]

    bench.add_stages(Odd)
    summary = bench.run()
    (failure,) = [failure for failure in summary.failures if failure.stage == "note"]
    assert (failure.clip_id, failure.cause) == ("a", "NoteRecord.text is None, and its column may not be")
    assert bench.clip("b").note.text.startswith("plain: prompt b")


def test_clips_that_share_a_video_share_its_artifacts(bench: Bench) -> None:
    bench.rows[1]["video"] = bench.rows[0]["video"]
    bench.recipe["stages"] = {"count": {}}
    bench.run()
    assert BEGUN == ["count"]
    assert bench.clip("a").record.keys == bench.clip("b").record.keys
    assert bench.clip("a").count.frames == bench.clip("b").count.frames == 6
    assert bench.run().nothing_to_do


@pytest.mark.parametrize("gpu", [False, True], ids=["one operator", "two operators"])
def test_clips_that_share_a_video_and_differ_in_the_prompt(bench: Bench, gpu: bool) -> None:
    """The second clip's note was recorded as skipped for good: `count` was made for the first one only."""
    if gpu:
        bench.add_stages(on_gpu(Note))
    bench.rows[1]["video"] = bench.rows[0]["video"]
    bench.rows.insert(1, {"id": "other", "video": bench.video("c.mp4", seed=60), "prompt": "x"})
    summary = bench.run()
    assert summary.failed == 0 and summary.stages["note"].done == 3, summary
    assert BEGUN.count("count") == 2
    texts = {name: bench.clip(name).note.text for name in ("a", "b")}
    assert texts["a"].replace("prompt a", "prompt b") == texts["b"]
    assert bench.run().nothing_to_do


@pytest.mark.parametrize("gpu", [False, True], ids=["one operator", "two operators"])
def test_failure_of_a_shared_artifact_is_a_failure_for_all(bench: Bench, gpu: bool) -> None:
    """What needs it was recorded as skipped, so that `--retry-failed` never came back to it."""
    bench.add_stages(broken(ValueError("bad")), *([on_gpu(Note)] if gpu else []))
    bench.rows[1]["video"] = bench.rows[0]["video"]
    summary = bench.run()
    assert summary.stages["note"].failed == 2 and summary.stages["note"].skipped == 0
    bench.add_stages(Count)
    assert bench.run(retry_failed=True).failed == 0
    assert bench.clip("b").note.text.startswith("plain: prompt b")


@pytest.mark.parametrize("gpu", [False, True], ids=["one operator", "two operators"])
def test_skip_of_a_shared_artifact_keeps_its_reason(bench: Bench, gpu: bool) -> None:
    bench.add_stages(skipping("too dark", 0.1), *([on_gpu(Note)] if gpu else []))
    bench.rows[1]["video"] = bench.rows[0]["video"]
    bench.run()
    for name in ("a", "b"):
        with pytest.raises(AttributeError, match=r"note was skipped: count: too dark \(0\.1\)"):
            _ = bench.clip(name).note


def test_short_clips_are_skipped_and_not_failed(bench: Bench) -> None:
    """They counted as failed, so that `--strict` refused a job with nothing wrong in it."""
    bench.recipe["timeline"] = {"min_frames": 7}
    summary = bench.run()
    assert (summary.failed, summary.clips_too_short, summary.clips_unusable) == (0, 2, 0)
    outcomes = wanprep.open(str(bench.store)).outcomes()
    assert {(row.outcome, row.reason, row.value) for row in outcomes} == {
        ("skipped", "has 6 frames, fewer than timeline.min_frames=7", 6.0)
    }
    bench.run()
    assert len(wanprep.open(str(bench.store)).outcomes()) == 2, "said once"


def test_config_objects_reach_the_worker_whole(bench: Bench) -> None:
    seen: list[CountConfig] = []

    class Spy(Count):
        def setup(self) -> None:
            seen.append(self.config)

    bench.add_stages(Spy)
    bench.recipe["stages"] = {"count": {"scale": 0.5, "batch": 3}}
    bench.run()
    assert seen == [CountConfig(scale=0.5, batch=3)]


def test_stage_that_cannot_be_set_up_fails_its_clips_and_not_the_others(bench: Bench) -> None:
    class NoModel(Digest):
        def setup(self) -> None:
            raise FileNotFoundError("no weights")

    bench.add_stages(NoModel)
    summary = bench.run()
    assert {f.cause for f in summary.failures} == {"cannot be set up: FileNotFoundError: no weights"}
    assert summary.stages["note"].done == 2
