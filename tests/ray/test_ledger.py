"""The rules by which clips, tasks and set-ups are refused."""

from __future__ import annotations

from ray_jobs.ledger import Ledger


def test_a_clip_that_never_ends_is_refused_the_third_time() -> None:
    ledger = Ledger()
    assert ledger.start(0, 7, "clip") is None
    assert ledger.start(0, 7, "clip") is None
    refusal = ledger.start(0, 7, "clip")
    assert refusal is not None and "crashed the worker twice" in refusal


def test_a_clip_that_ends_may_be_started_any_number_of_times() -> None:
    ledger = Ledger()
    for _ in range(5):
        assert ledger.start(0, 7, "clip") is None
        ledger.end(0, 7, "clip")


def test_a_refusal_outlives_the_end_of_the_refused_clip() -> None:
    ledger = Ledger()
    ledger.start(0, 7, "clip")
    ledger.start(0, 7, "clip")
    first = ledger.start(0, 7, "clip")
    ledger.end(0, 7, "clip")
    assert ledger.start(0, 7, "clip") == first


def test_operators_count_for_themselves() -> None:
    ledger = Ledger()
    for _ in range(3):
        ledger.start(0, 7, "clip")
    assert ledger.start(1, 7, "clip") is None


def test_a_time_out_refuses_at_once_with_its_cause() -> None:
    ledger = Ledger()
    ledger.start(0, 7, "clip")
    ledger.time_out(0, "clip", "ran longer than 5 s")
    assert ledger.start(0, 7, "clip") == "ran longer than 5 s"


def test_a_worker_that_dies_in_set_up_is_not_set_up_a_third_time() -> None:
    ledger = Ledger()
    assert ledger.begin_set_up(0, "a") is None
    assert ledger.begin_set_up(0, "b") is None
    assert ledger.begin_set_up(0, "a") is None
    refusal = ledger.begin_set_up(0, "a")
    assert refusal is not None and "died 2 times" in refusal
    ledger.end_set_up(0, "b")
    assert ledger.begin_set_up(0, "b") is None


def test_a_task_whose_worker_dies_outside_of_clips_is_refused() -> None:
    ledger = Ledger()
    for _ in range(3):
        assert ledger.begin_task(0, 7) is None
        ledger.start(0, 7, "clip")
        ledger.end(0, 7, "clip")
    assert ledger.begin_task(0, 7) is not None


def test_deaths_within_clips_do_not_count_against_the_task() -> None:
    ledger = Ledger()
    for clip in ("a", "b", "c", "d"):
        assert ledger.begin_task(0, 7) is None
        ledger.start(0, 7, clip)
    assert ledger.begin_task(0, 7) is None


def test_frames_are_told_once() -> None:
    ledger = Ledger()
    ledger.add_frames(3)
    ledger.begin_task(0, 7)
    ledger.end_task(0, 7, 4)
    assert ledger.polled() == 7
    assert ledger.polled() == 0
