"""Old tables beside new ones: columns that a later version added are read as empty."""

from __future__ import annotations

import pyarrow as pa


def with_new_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the nullable columns of `schema` that it lacks, as nulls, in the schema's order.

    A table that lacks none comes back as it is; so does one that lacks a column without which no row means anything.
    """
    lacking = [field for field in schema if field.name not in table.column_names]
    if not lacking or not all(field.nullable for field in lacking):
        return table
    unknown = [name for name in table.column_names if name not in schema.names]
    for field in lacking:
        table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select([*schema.names, *unknown])
