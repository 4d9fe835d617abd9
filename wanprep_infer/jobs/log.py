"""A job's events as JSON lines, in the form that preprocessing runs write theirs."""

from __future__ import annotations

import logging
from typing import Any

from wanprep.telemetry.log import RunLog, redacted
from wanprep_infer.jobs.job import Outcome
from wanprep_infer.jobs.summary import STATES, GenerationSummary

_LEVELS = {"failed": logging.WARNING}


class GenerationLog(RunLog):
    """The events of one job: its start and end, and an event for each outcome."""

    def job_start(self, summary: GenerationSummary, to_do: int) -> None:
        self._say(
            "run_start",
            engine=summary.engine,
            workers=summary.workers,
            generator=summary.generator,
            model=summary.model,
            generations=to_do,
            store=redacted(summary.store),
        )

    def job_end(self, summary: GenerationSummary, error: BaseException | None) -> None:
        self._say(
            "run_end",
            logging.ERROR if summary.state == "error" else logging.INFO,
            cause=None if error is None else str(error) or type(error).__name__,
            state=summary.state,
            seconds=round(summary.seconds, 3),
            counts={state: len(summary.of(state)) for state in STATES},
        )

    def outcome(self, outcome: Outcome) -> None:
        given: dict[str, Any] = {
            "text_of": outcome.text_of,
            "mode": outcome.mode,
            "seed": outcome.seed,
            "key": outcome.key,
            "file": outcome.file,
            "seconds": round(outcome.seconds, 3) if outcome.state == "made" else None,
        }
        self._say(
            outcome.state,
            _LEVELS.get(outcome.state, logging.INFO),
            clip=outcome.clip_id,
            stage="generate",
            cause=outcome.why,
            **{name: value for name, value in given.items() if value is not None},
        )
        for warning in outcome.warnings:
            self._say("warning", logging.WARNING, clip=outcome.clip_id, stage="generate", cause=warning)
