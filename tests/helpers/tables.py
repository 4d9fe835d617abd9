"""All tables of a store, and their columns as text. Run as a program, it pins them anew."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from schemas import SCHEMA_VERSION, ClipRecord, MediaRecord, OutcomeRecord, Record
from schemas.registry import RECORDS
from schemas.tensor import TENSOR

PINNED = Path(__file__).parents[1] / "data" / "schemas.txt"
TABLES: dict[str, type[Record]] = {
    "clips": ClipRecord,
    "media": MediaRecord,
    "outcomes": OutcomeRecord,
    **{f"artifacts/{stage}": record for stage, record in RECORDS.items()},
}


def described() -> str:
    """The schema version, and every table's columns in order."""
    lines = [f"version {SCHEMA_VERSION}", "", f"tensor {TENSOR}"]
    for table, record in sorted(TABLES.items()):
        lines += ["", table]
        lines += [f"  {_column(column)}" for column in record.SCHEMA]
    return "\n".join(lines) + "\n"


def _column(column: pa.Field) -> str:
    kind = "tensor" if column.type == TENSOR else str(column.type)
    return f"{column.name}: {kind}{'' if column.nullable else ' not null'}"


if __name__ == "__main__":
    PINNED.write_text(described())
