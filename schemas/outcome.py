"""The `outcomes` table: each clip and stage that was skipped or failed. What is done is in `artifacts`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from schemas.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRecord(Record):
    """Skipped with a reason and the measured value, or failed with a cause."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            pa.field("stage", pa.string(), nullable=False),
            pa.field("clip_id", pa.string(), nullable=False),
            pa.field("outcome", pa.string(), nullable=False),
            pa.field("reason", pa.string()),
            pa.field("value", pa.float64()),
            pa.field("cause", pa.string()),
            pa.field("traceback", pa.string()),
            pa.field("blocked_by", pa.string()),
            pa.field("run", pa.string(), nullable=False),
            pa.field("created_ns", pa.int64(), nullable=False),
        ]
    )

    key: str
    stage: str
    clip_id: str
    outcome: str  # skipped or failed
    reason: str | None = None  # skipped: why, in words
    value: float | None = None  # skipped: what was measured
    cause: str | None = None  # failed: one line for people
    traceback: str | None = None
    blocked_by: str | None = None  # failed only because this stage, which it needs, failed
    run: str = ""
    created_ns: int = 0
