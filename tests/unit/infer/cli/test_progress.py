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
    generation(heard, "two")
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
    heard = reporter(io.StringIO())
    heard.job(2, 40)
    heard.begin("fails", 2, 10)
    heard.step()
    heard.end()
    heard.end()
    whole = heard._whole  # type: ignore[attr-defined]
    assert (whole.done_steps, whole.steps, whole.ended) == (1, 21, 1)


@pytest.mark.parametrize("heard", [silent(), reporter(io.StringIO()), reporter(Terminal())])
def test_one_generation_needs_no_job(heard: Reporter) -> None:
    generation(heard)
    heard.close()
