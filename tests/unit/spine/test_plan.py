"""What is to do, and why: never more than what changed, never less."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from helpers.bench import ALL, Bench
from helpers.stages import BEGUN, Note

import wanprep
from wanprep.states import State
from wanprep.store.verify import verify


def test_new_clips_without_a_store(bench: Bench) -> None:
    assert bench.reasons() == {name: {"new clip": 2} for name in ALL}
    assert not bench.store.exists(), "planning makes nothing"


def test_nothing_to_do_after_a_run(bench: Bench) -> None:
    summary = bench.run()
    assert summary.failed == 0 and {s.done for s in summary.stages.values()} == {2}
    assert BEGUN.count("count") == 2
    again = bench.run()
    assert again.nothing_to_do and BEGUN == []
    assert bench.reasons() == {}
    assert bench.counts(State.DONE) == {"count": 2, "note": 2, "digest": 2}


def test_new_clip_beside_old_ones(bench: Bench) -> None:
    bench.run()
    bench.rows.append({"id": "c", "video": bench.video("c.mp4", seed=40), "prompt": "p"})
    assert bench.reasons() == {name: {"new clip": 1} for name in ALL}
    assert bench.run().clips_to_do == 1 and BEGUN == ["count", "note", "digest"]


def test_config_change_names_field_and_values_and_reaches_what_comes_after(bench: Bench) -> None:
    bench.run()
    bench.recipe["stages"]["note"]["style"] = "fancy"
    assert bench.reasons() == {
        "note": {"config changed: style plain -> fancy": 2},
        "digest": {"upstream changed: note": 2},
    }
    bench.run()
    assert BEGUN == ["note", "digest"] * 2
    assert bench.clip("a").note.text.startswith("fancy: prompt a")
    bench.recipe["stages"]["count"] = {"scale": 2}
    assert bench.reasons() == {
        "count": {"config changed: scale 1 -> 2": 2},
        "note": {"upstream changed: count": 2},
        "digest": {"upstream changed: count": 2},
    }


def test_option_that_cannot_change_the_result_changes_nothing(bench: Bench) -> None:
    bench.run()
    bench.recipe["stages"]["count"]["batch"] = 99
    assert bench.run().nothing_to_do


def test_going_back_finds_what_was_made(bench: Bench) -> None:
    bench.run()
    bench.recipe["stages"]["note"]["style"] = "fancy"
    bench.run()
    bench.recipe["stages"]["note"]["style"] = "plain"
    assert bench.run().nothing_to_do
    assert bench.clip("a").note.text.startswith("plain")


def test_version_and_model_changes_are_named(bench: Bench) -> None:
    bench.run()

    class Newer(Note):
        version = 2

    bench.add_stages(Newer)
    assert bench.reasons()["note"] == {"version changed: 1 -> 2": 2}

    class Model(Note):
        def models(self) -> Mapping[str, str]:
            return {"writer": "abc"}

    bench.add_stages(Model)
    assert bench.reasons()["note"] == {"model changed: writer None -> abc": 2}


def test_new_stage_and_stage_left_out(bench: Bench) -> None:
    del bench.recipe["stages"]["digest"]
    bench.run()
    bench.recipe["stages"]["digest"] = {}
    assert bench.reasons() == {"digest": {"new stage": 2}}
    bench.run()
    assert BEGUN == ["digest"] * 2
    assert bench.clip("a").digest.inputs == ["count", "note"]
    del bench.recipe["stages"]["note"]
    assert bench.reasons() == {"digest": {"upstream left out: note": 2}}
    bench.run()
    assert bench.clip("a").digest.inputs == ["count"]


def test_other_video_under_the_same_name(bench: Bench) -> None:
    bench.run()
    bench.video("a.mp4", seed=77)
    assert bench.reasons() == {name: {"video changed": 1} for name in ALL}


def test_prompt_reaches_only_those_who_read_it(bench: Bench) -> None:
    bench.run()
    bench.rows[0]["prompt"] = "other"
    assert bench.reasons() == {"note": {"prompt changed": 1}, "digest": {"prompt changed": 1}}


def test_reason_is_about_what_the_stage_reads(bench: Bench) -> None:
    """A new prompt was given as the reason of a stage that does not read prompts."""
    bench.run()
    bench.rows[0]["prompt"] = "other"
    bench.recipe["stages"]["count"] = {"scale": 3}
    assert bench.reasons()["count"] == {"config changed: scale 1 -> 3": 2}


def test_timeline_change_is_named_and_spares_what_reads_no_media(bench: Bench) -> None:
    bench.run()
    bench.recipe["timeline"] = {"fps": 12.5}
    assert bench.reasons()["count"] == {"timeline.fps changed: 25 -> 12.5": 2}
    bench.recipe["timeline"] = {}
    bench.rows[1]["start"] = 0.1
    assert bench.reasons()["count"] == {"start, end or frame count changed": 1}


def test_unfinished_work_is_named(bench: Bench) -> None:
    class Stopped(Exception):
        pass

    def stop(*arguments: Any) -> None:
        raise Stopped

    from wanprep.engine import operator

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(operator.Operator, "_commit", stop)
        bench.run()
    assert bench.reasons() == {name: {"not finished before": 2} for name in ALL}
    assert bench.run().failed == 0
    assert verify(wanprep.open(str(bench.store))).clean
