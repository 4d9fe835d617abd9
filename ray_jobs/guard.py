"""Watches over an operator's clips in a Ray worker: tells the ledger, keeps the time limit, counts frames."""

from __future__ import annotations

import time
from typing import Any

from ray_jobs.watchdog import Watchdog
from schemas import ClipRecord
from wanprep.engine.job import Job

_FRAMES_SECONDS = 1.0  # frames are told at most this often: a call a window would cost more than it is worth
_LAST_WORDS_SECONDS = 10.0


class LedgerGuard:
    """The `Guard` of one task. With `refusal` it refuses every clip with that text."""

    def __init__(
        self, job: Job, ledger: Any, watchdog: Watchdog, *, operator: int, task: int, refusal: str | None
    ) -> None:
        self._job = job
        self._ledger = ledger
        self._watchdog = watchdog
        self._operator = operator
        self._task = task
        self._refusal = refusal
        self._frames = 0
        self._told = time.monotonic()

    def start(self, clip: ClipRecord) -> str | None:
        import ray

        if self._refusal is not None:
            return self._refusal
        refusal = ray.get(self._ledger.start.remote(self._operator, self._task, clip.clip_id))
        if refusal is not None:
            return str(refusal)
        limit = self._job.time_limit(clip)
        self._watchdog.arm(limit, lambda: self._tell_stuck(clip, limit))
        return None

    def _tell_stuck(self, clip: ClipRecord, limit: float) -> None:
        import ray

        cause = f"ran longer than {limit:g} s (limit for {clip.frames} frames), so its worker was ended"
        told = self._ledger.time_out.remote(self._operator, clip.clip_id, cause)
        ray.get(told, timeout=_LAST_WORDS_SECONDS)

    def frames(self, count: int) -> None:
        self._frames += count
        now = time.monotonic()
        if now - self._told >= _FRAMES_SECONDS:
            self._ledger.add_frames.remote(self._frames)
            self._frames, self._told = 0, now

    def end(self, clip: ClipRecord) -> None:
        self._watchdog.disarm()
        if self._refusal is None:
            self._ledger.end.remote(self._operator, self._task, clip.clip_id)

    def close(self) -> None:
        """After the task is committed; waits, so that the driver's next look sees all of its frames."""
        import ray

        ray.get(self._ledger.end_task.remote(self._operator, self._task, self._frames))
        self._frames = 0
