"""Self time: what a span spends, less the spans inside it."""

from __future__ import annotations

import pytest

from wanprep import timing
from wanprep.timing import Timings


def test_inner_spans_are_taken_off_the_outer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(timing.time, "thread_time", lambda: clock[0] / 2)
    timings = Timings()

    def spend(seconds: float) -> None:
        clock[0] += seconds

    with timings.span("stage"):
        spend(1)
        with timings.span("decode"):
            spend(2)
            with timings.span("read"):
                spend(4)
        with timings.span("decode"):
            spend(8)
        spend(16)
    assert timings.wall == {"stage": 17, "decode": 10, "read": 4}
    assert timings.cpu == {"stage": 8.5, "decode": 5, "read": 2}


def test_time_is_booked_also_when_it_ends_in_an_error() -> None:
    timings = Timings()
    with pytest.raises(ValueError, match="boom"), timings.span("outer"), timings.span("inner"):
        raise ValueError("boom")
    assert set(timings.wall) == {"outer", "inner"}
    with timings.span("next"):
        pass
    assert timings.wall["next"] >= 0
