"""Shows how far generations are: bars on a terminal, a plain line every 30 seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol, TextIO

from wanprep.engine.progress import duration_text
from wanprep.hints import plural
from wanprep.terminal import plain, shown

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_LINE_SECONDS = 30.0


class Progress(Protocol):
    """Hears of one generation at a time, from the pipeline that makes it."""

    def begin(self, label: str, segments: int, steps: int) -> None:
        """A generation of `segments` segments (or clips of one video), each of `steps` denoising steps."""

    def step(self) -> None:
        """A denoising step is done, all its guidance branches included."""

    def segment(self, frames: int) -> None:
        """A segment is decoded: `frames` frames of the output are final."""

    def end(self) -> None:
        """The generation is over, however it ended."""


class Reporter(Progress, Protocol):
    """A `Progress` for a whole job, which has many generations and perhaps several at a time."""

    def job(self, generations: int, steps: int) -> None:
        """Before the first: how many are to be made, and their denoising steps all together."""

    def another(self) -> Progress:
        """A `Progress` of its own for a generation that goes on beside others."""

    def settled(self, steps: int, trouble: str | None = None) -> None:
        """A generation of the job, of `steps` steps in all, will not be tried again.

        Args:
            trouble: what became of it, when it was not made.
        """

    def close(self) -> None:
        """The job is over: bars go."""


def silent() -> Reporter:
    """Says nothing."""
    return _Silent()


def reporter(stream: TextIO | None = None) -> Reporter:
    """Bars when the stream (stderr by default) is a terminal, lines otherwise."""
    stream = stream or sys.stderr
    return _Reporter(_Bars(stream) if stream.isatty() else _Lines(stream))


class _Silent:
    def begin(self, label: str, segments: int, steps: int) -> None:
        return None

    def step(self) -> None:
        return None

    def segment(self, frames: int) -> None:
        return None

    def end(self) -> None:
        return None

    def job(self, generations: int, steps: int) -> None:
        return None

    def another(self) -> Progress:
        return self

    def settled(self, steps: int, trouble: str | None = None) -> None:
        return None

    def close(self) -> None:
        return None


class _Whole:
    """All generations of a job, and the rate that the time left is guessed from."""

    def __init__(self) -> None:
        self.announced = False
        self.generations = self.steps = 0  # of the whole job
        self.settled = self.settled_steps = 0  # of what will not be tried again
        self.taken_steps = 0  # that were computed, for attempts that came to nothing too
        self.active: list[_One] = []
        self.started: float | None = None  # the first step begins: loading a model is no step

    @property
    def done_steps(self) -> int:
        """Steps that nobody waits for any more: an attempt that failed has done none."""
        return self.settled_steps + sum(one.done_steps for one in self.active)

    @property
    def seconds_per_step(self) -> float | None:
        """None before the first step is done. With several at a time this is less than one of them takes."""
        if self.started is None or not self.taken_steps:
            return None
        return (time.monotonic() - self.started) / self.taken_steps

    @property
    def rate_text(self) -> str:
        seconds = self.seconds_per_step
        if seconds is None:
            return ""
        left = max(0, self.steps - self.done_steps) * seconds
        rate = f"{seconds:.2f} s a step" if seconds >= 0.1 else f"{1 / max(seconds, 1e-6):.0f} steps a second"
        return f"{rate}, about {duration_text(left)} left"


class _One:
    """One generation on its way."""

    def __init__(self) -> None:
        self.label = ""
        self.segments = self.steps = self.done_segments = self.done_steps = self.frames = 0
        self.started = 0.0

    @property
    def complete(self) -> bool:
        return self.done_segments >= self.segments

    @property
    def place(self) -> str:
        segment = min(self.done_segments, self.segments - 1)
        step = min(max(self.done_steps - segment * self.steps, 0), self.steps)
        return f"segment {segment + 1}/{self.segments}, step {step}/{self.steps}"


class _Display(Protocol):
    def begun(self, one: _One, whole: _Whole) -> None: ...

    def moved(self, one: _One, whole: _Whole) -> None: ...

    def ended(self, one: _One, whole: _Whole) -> None: ...

    def settled(self, trouble: str | None, whole: _Whole) -> None: ...

    def close(self) -> None: ...


class _Track:
    """The `Progress` of generations that follow one another."""

    def __init__(self, whole: _Whole, display: _Display) -> None:
        self._whole, self._display = whole, display
        self._one: _One | None = None

    def begin(self, label: str, segments: int, steps: int) -> None:
        self.end()  # of one whose end was not told
        whole, one = self._whole, _One()
        one.label, one.segments, one.steps, one.started = plain(label), segments, steps, time.monotonic()
        whole.started = whole.started or one.started
        if not whole.announced:
            whole.generations, whole.steps = whole.generations + 1, whole.steps + segments * steps
        self._one = one
        whole.active.append(one)
        self._display.begun(one, whole)

    def step(self) -> None:
        if self._one is not None:
            self._one.done_steps += 1
            self._whole.taken_steps += 1
            self._display.moved(self._one, self._whole)

    def segment(self, frames: int) -> None:
        if self._one is not None:
            self._one.done_segments += 1
            self._one.frames += frames
            self._display.moved(self._one, self._whole)

    def end(self) -> None:
        one, self._one = self._one, None
        if one is None:
            return
        self._whole.active.remove(one)
        if not self._whole.announced:  # nobody will say what became of it
            self._whole.settled += 1
            self._whole.settled_steps += one.segments * one.steps
        self._display.ended(one, self._whole)


class _Reporter(_Track):
    def __init__(self, display: _Display) -> None:
        super().__init__(_Whole(), display)

    def job(self, generations: int, steps: int) -> None:
        self._whole.announced = True
        self._whole.generations, self._whole.steps = generations, steps

    def another(self) -> Progress:
        return _Track(self._whole, self._display)

    def settled(self, steps: int, trouble: str | None = None) -> None:
        self._whole.settled += 1
        self._whole.settled_steps += steps
        self._display.settled(trouble, self._whole)

    def close(self) -> None:
        self.end()
        self._display.close()


class _Lines:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = time.monotonic()

    def begun(self, one: _One, whole: _Whole) -> None:
        number = whole.settled + len(whole.active)
        of = f" ({number} of {whole.generations})" if whole.generations > 1 else ""
        self._say(f"{one.label}{of}: {plural(one.segments, 'segment')} of {plural(one.steps, 'step')}")

    def moved(self, one: _One, whole: _Whole) -> None:
        if time.monotonic() - self._last >= _LINE_SECONDS:
            self._say(f"{one.label}: {one.place}, {whole.rate_text}")

    def ended(self, one: _One, whole: _Whole) -> None:
        if one.complete:
            seconds = time.monotonic() - one.started
            self._say(f"{one.label}: {plural(one.frames, 'frame')}, {duration_text(seconds)}")

    def settled(self, trouble: str | None, whole: _Whole) -> None:
        if trouble is not None:
            self._say(plain(trouble))

    def close(self) -> None:
        return None

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)
        self._last = time.monotonic()


class _Bars:
    """A bar for all steps, and one for each generation on its way."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress: RichProgress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[note]}"),
            console=Console(file=stream),
            transient=True,
        )
        self._whole_task = self._progress.add_task("[bold]generating", total=None, note="")
        self._tasks: dict[int, TaskID] = {}

    def begun(self, one: _One, whole: _Whole) -> None:
        self._progress.start()
        total = one.segments * one.steps
        self._tasks[id(one)] = self._progress.add_task(shown(one.label), total=total, note=one.place)
        self._show(whole)

    def moved(self, one: _One, whole: _Whole) -> None:
        if id(one) in self._tasks:
            self._progress.update(self._tasks[id(one)], completed=one.done_steps, note=one.place)
        self._show(whole)

    def ended(self, one: _One, whole: _Whole) -> None:
        task = self._tasks.pop(id(one), None)
        if task is not None:
            self._progress.remove_task(task)

    def settled(self, trouble: str | None, whole: _Whole) -> None:
        if trouble is not None:
            self._progress.console.print(shown(trouble), soft_wrap=True, highlight=False)
        self._show(whole)

    def _show(self, whole: _Whole) -> None:
        note = f"{whole.settled}/{whole.generations} {whole.rate_text}".strip()
        self._progress.update(
            self._whole_task, total=whole.steps or None, completed=whole.done_steps, note=note
        )

    def close(self) -> None:
        self._progress.stop()
