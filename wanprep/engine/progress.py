"""Shows how far a run is: a bar on a terminal, a plain line every 30 seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol, TextIO

from wanprep.hints import plural

if TYPE_CHECKING:
    from rich.progress import Progress

_LINE_SECONDS = 30.0


class Reporter(Protocol):
    """Hears of a run's progress, in the process that started it."""

    def phase(self, name: str, done: int, total: int) -> None: ...

    def begin(self, clips: int, frames: int) -> None: ...

    def frames(self, count: int) -> None: ...

    def clips(self, count: int, skipped: int, failed: int) -> None: ...

    def end(self) -> None: ...


def silent() -> Reporter:
    return _Silent()


def reporter(stream: TextIO | None = None) -> Reporter:
    """A bar when the stream is a terminal, lines otherwise."""
    stream = stream or sys.stderr
    return _Bar(stream) if stream.isatty() else _Lines(stream)


class _Silent:
    def phase(self, name: str, done: int, total: int) -> None:
        return None

    def begin(self, clips: int, frames: int) -> None:
        return None

    def frames(self, count: int) -> None:
        return None

    def clips(self, count: int, skipped: int, failed: int) -> None:
        return None

    def end(self) -> None:
        return None


class _Counts:
    """Clips and frames so far, and what follows from them."""

    def __init__(self) -> None:
        self.total_clips = self.total_frames = 0
        self.done_clips = self.done_frames = self.skipped = self.failed = 0
        self.started = time.monotonic()

    def begin(self, clips: int, frames: int) -> None:
        self.total_clips, self.total_frames = clips, frames
        self.started = time.monotonic()

    @property
    def rate(self) -> float:
        """Frames per second so far."""
        return self.done_frames / max(time.monotonic() - self.started, 1e-6)

    @property
    def text(self) -> str:
        notes = f", {self.skipped} skipped" if self.skipped else ""
        notes += f", {self.failed} failed" if self.failed else ""
        return f"{self.done_clips}/{self.total_clips} clips{notes}"


class _Lines(_Counts):
    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._last = time.monotonic()

    def phase(self, name: str, done: int, total: int) -> None:
        self._maybe(f"{name}: {done:,} of {total:,}")

    def begin(self, clips: int, frames: int) -> None:
        super().begin(clips, frames)
        self._say(f"running: {plural(clips, 'clip')}, {plural(frames, 'frame')}")

    def frames(self, count: int) -> None:
        self.done_frames += count
        self._report()

    def clips(self, count: int, skipped: int, failed: int) -> None:
        self.done_clips += count
        self.skipped += skipped
        self.failed += failed
        self._report()

    def end(self) -> None:
        self._say(f"running: {self.text}, {time.monotonic() - self.started:.0f} s")

    def _report(self) -> None:
        left = max(0, self.total_frames - self.done_frames) / self.rate if self.done_frames else 0
        self._maybe(f"running: {self.text}, {self.rate:.1f} frames/s, about {duration_text(left)} left")

    def _maybe(self, text: str) -> None:
        if time.monotonic() - self._last >= _LINE_SECONDS:
            self._say(text)

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)
        self._last = time.monotonic()


class _Bar(_Counts):
    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress: Progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=Console(file=stream),
            transient=True,
        )
        self._phase: str | None = None
        self._task = self._progress.add_task("", total=None, visible=False, note="")

    def phase(self, name: str, done: int, total: int) -> None:
        if self._phase != name:
            self._phase = name
            self._progress.start()
            self._progress.reset(self._task, description=name, total=total, visible=True)
        self._progress.update(self._task, completed=done, note=f"{done:,} of {total:,}")
        if done >= total:
            self._progress.stop()

    def begin(self, clips: int, frames: int) -> None:
        super().begin(clips, frames)
        self._progress.start()
        self._progress.reset(self._task, description="running", total=frames or None, visible=True)
        self._show()

    def frames(self, count: int) -> None:
        self.done_frames += count
        self._show()

    def clips(self, count: int, skipped: int, failed: int) -> None:
        self.done_clips += count
        self.skipped += skipped
        self.failed += failed
        self._show()

    def _show(self) -> None:
        note = f"{self.text}, {self.rate:.1f} frames/s" if self.done_frames else self.text
        self._progress.update(self._task, completed=self.done_frames, note=note)

    def end(self) -> None:
        self._progress.stop()


def duration_text(seconds: float) -> str:
    """Seconds for people: 45 s, 3 min 20 s, 2 h 5 min."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
