"""Progress as lines and as bars, for one generation and for several side by side."""

from __future__ import annotations

import io

import pytest

from wanprep_infer import progress
from wanprep_infer.progress import Progress, Reporter, reporter, silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def generation(heard: Progress, label: str = "dance", segments: int = 2, steps: int = 3) -> None:
    heard.begin(label, segments, steps)
    for _ in range(segments):
        for _ in range(steps):
            heard.step()
        heard.segment(77)
    heard.end()


def test_lines_name_every_generation() -> None:
    stream = io.StringIO()
    heard = reporter(stream)
    heard.job(2, 12)
    generation(heard, "one\x1b[31m")
    heard.settled(6)
    generation(heard, "two")
    heard.settled(6)
    heard.close()
    assert stream.getvalue().splitlines() == [
        "one\\x1b[31m (1 of 2): 2 segments of 3 steps",
        "one\\x1b[31m: 154 frames, 0 s",
        "two (2 of 2): 2 segments of 3 steps",
        "two: 154 frames, 0 s",
    ]


def test_lines_tell_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    heard = reporter(stream)
    heard.job(1, 40)
    heard.begin("dance", 2, 20)
    for _ in range(21):
        clock[0] += 2.0
        heard.step()
        if heard._one.done_steps == 20:  # type: ignore[attr-defined]
            heard.segment(77)
    lines = stream.getvalue().splitlines()
    assert lines[1] == "dance: segment 1/2, step 15/20, 2.00 s a step, about 50 s left"
    assert len(lines) == 2, "one in 30 seconds"


def test_bars_show_steps_of_all_and_of_each() -> None:
    stream = Terminal()
    heard = reporter(stream)
    heard.job(2, 24)
    first, second = heard.another(), heard.another()
    first.begin("left [b]", 2, 6)
    second.begin("right", 2, 6)
    for _ in range(6):
        first.step()
    first.segment(77)
    second.step()
    bars = heard._display._progress  # type: ignore[attr-defined]
    notes = {str(task.description): (task.completed, task.total, task.fields["note"]) for task in bars.tasks}
    whole = notes.pop("[bold]generating")
    assert whole[:2] == (7, 24) and whole[2].startswith("0/2 ") and "left" in whole[2]
    assert notes == {
        r"left \[b]": (6, 12, "segment 2/2, step 0/6"),
        "right": (1, 12, "segment 1/2, step 1/6"),
    }
    first.end()
    assert len(bars.tasks) == 2
    second.end()
    heard.close()
    assert not bars.live.is_started


def test_what_failed_is_not_waited_for() -> None:
    stream = io.StringIO()
    heard = reporter(stream)
    heard.job(2, 40)
    heard.begin("fails", 2, 10)
    heard.step()
    heard.end()
    heard.settled(20, "failed clip, seed 1: no good")
    heard.end()
    whole = heard._whole  # type: ignore[attr-defined]
    assert (whole.done_steps, whole.steps, whole.settled) == (20, 40, 1)
    assert stream.getvalue().splitlines()[1:] == ["failed clip, seed 1: no good"], "no word of its frames"


def test_a_generation_that_is_tried_again_counts_once() -> None:
    """Named after the bug: each attempt was counted, so that more ended than there were, and time left was short."""
    stream = io.StringIO()
    heard = reporter(stream)
    heard.job(2, 12)
    first, second = heard.another(), heard.another()
    first.begin("crashes", 2, 3)
    second.begin("other", 2, 3)
    first.step()
    first.end()
    whole = heard._whole  # type: ignore[attr-defined]
    assert (whole.done_steps, whole.taken_steps, whole.settled) == (0, 1, 0)
    generation(heard.another(), "crashes")
    heard.settled(6)
    assert (whole.done_steps, whole.taken_steps, whole.settled) == (6, 7, 1)
    assert [line for line in stream.getvalue().splitlines() if "of 2" in line] == [
        "crashes (1 of 2): 2 segments of 3 steps",
        "other (2 of 2): 2 segments of 3 steps",
        "crashes (2 of 2): 2 segments of 3 steps",
    ]


def test_what_never_began_is_not_waited_for_either() -> None:
    """Named after the bug: what the loaded model refused, or another process had made, stayed in the time left."""
    stream = Terminal()
    heard = reporter(stream)
    heard.job(2, 12)
    heard.settled(6, "skipped clip: \x1b[31m[b]unfit")
    generation(heard)
    heard.settled(6)
    (bar,) = heard._display._progress.tasks  # type: ignore[attr-defined]
    assert (bar.completed, bar.total, bar.fields["note"].split()[0]) == (12, 12, "2/2")
    heard.close()
    assert r"skipped clip: \x1b[31m[b]unfit" in stream.getvalue()


def test_a_generation_whose_end_was_not_told_leaves_no_bar() -> None:
    heard = reporter(Terminal())
    heard.job(2, 12)
    heard.begin("lost", 2, 3)
    heard.begin("next", 2, 3)
    assert len(heard._display._progress.tasks) == 2  # type: ignore[attr-defined]
    heard.close()


@pytest.mark.parametrize("heard", [silent(), reporter(io.StringIO()), reporter(Terminal())])
def test_one_generation_needs_no_job(heard: Reporter) -> None:
    generation(heard)
    heard.close()
