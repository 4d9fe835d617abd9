"""What generates in a Ray worker: the model loaded once, then one request after the other.

Heavy modules are imported in the worker's own code, after its threads are capped, and not to describe it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ray_jobs.told_errors import as_document
from ray_jobs.worker import OUT_OF_MEMORY, SET_UP_SECONDS, THREAD_VARIABLES

if TYPE_CHECKING:
    from ray_jobs.board import Event
    from ray_jobs.watchdog import Watchdog
    from wanprep_infer.jobs.making import Maker

_TELL_SECONDS = 0.5  # steps are told at most this often
_LAST_WORDS_SECONDS = 10.0


class GenerationWorker:
    """An actor. Answers are plain data: an outcome, with whether another worker is to go on; or the error that ends
    the job."""

    def __init__(self, job: Mapping[str, Any], number: int, board: Any, threads: int) -> None:
        for variable in THREAD_VARIABLES:
            os.environ[variable] = str(threads)
        self._document, self._number, self._board, self._threads = job, number, board, threads
        self._maker: Maker | None = None
        self._watchdog: Watchdog | None = None

    def load(self) -> dict[str, Any]:
        """Loads the model; what a worker does first."""
        from ray_jobs.watchdog import Watchdog
        from wanprep_infer.jobs.job import GenerationJob
        from wanprep_infer.jobs.making import Maker

        self._watchdog = Watchdog()
        self._watchdog.arm(SET_UP_SECONDS, lambda: None)
        try:
            if "torch" in sys.modules:  # a module may have brought it before the variables were set
                sys.modules["torch"].set_num_threads(self._threads)
            maker = Maker(GenerationJob.from_document(self._document))
            maker.load()
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        except Exception as error:
            return {"error": as_document(error)}
        finally:
            self._watchdog.disarm()
        self._maker = maker
        return {}

    def make(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """One generation."""
        from wanprep_infer.jobs.request import Request

        assert self._maker is not None and self._watchdog is not None, "a worker loads first"
        request = Request.from_document(document)
        limit = float(self._document["seconds_per_step"])
        watched = WatchedProgress(self._board, self._number, self._watchdog, request.key, limit)
        try:
            outcome = self._maker.make(request, watched)
        except MemoryError:
            # Nothing is left to say it with: the driver sees the worker gone.
            os._exit(OUT_OF_MEMORY)
        except Exception as error:
            return {"error": as_document(error)}
        finally:
            watched.close()
        return {"outcome": outcome.to_document(), "spent": self._maker.spent is not None}


class WatchedProgress:
    """A `Progress` that tells the board, and has the watchdog end the worker when a step takes too long."""

    def __init__(self, board: Any, number: int, watchdog: Watchdog, key: str, limit: float) -> None:
        self._board, self._number, self._watchdog = board, number, watchdog
        self._key, self._limit = key, limit
        self._steps = 0
        self._told = 0.0
        self._began = False
        self._arm()

    def begin(self, label: str, segments: int, steps: int) -> None:
        self._began = True
        self._tell("begin", label, segments, steps)
        self._arm()

    def step(self) -> None:
        self._steps += 1
        if time.monotonic() - self._told >= _TELL_SECONDS:
            self._tell_steps()
        self._arm()

    def segment(self, frames: int) -> None:
        self._tell_steps()
        self._tell("segment", frames)
        self._arm()

    def end(self) -> None:
        if self._began:
            self._began = False
            self._tell_steps()
            self._tell("end")

    def close(self) -> None:
        """After the generation, whatever became of it; waits, so that the driver's next look sees all of it."""
        import ray

        self.end()
        self._watchdog.disarm()
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(self._board.tell.remote([]), timeout=_LAST_WORDS_SECONDS)

    def _tell_steps(self) -> None:
        if self._steps:
            self._tell("step", self._steps)
            self._steps, self._told = 0, time.monotonic()

    def _tell(self, what: str, *values: Any) -> None:
        event: Event = (self._number, what, values)
        self._board.tell.remote([event])

    def _arm(self) -> None:
        self._watchdog.arm(self._limit, self._last_words)

    def _last_words(self) -> None:
        import ray

        cause = f"a step took longer than {self._limit:g} s, so its worker was ended"
        ray.get(self._board.end.remote(self._key, cause), timeout=_LAST_WORDS_SECONDS)
