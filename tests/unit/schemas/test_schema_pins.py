"""The tables are a contract: a column changes only together with the schema's version."""

from __future__ import annotations

import dataclasses

import pytest
from helpers.tables import PINNED, TABLES, described

import schemas
from schemas import Record


def test_schemas_are_as_pinned() -> None:
    assert described() == PINNED.read_text(), (
        "a table's columns changed: raise SCHEMA_VERSION in schemas/version.py, say what changed in "
        "docs/store-format.md, and pin the new columns with `python tests/helpers/tables.py`"
    )


def test_every_record_is_pinned() -> None:
    public = {
        getattr(schemas, name) for name in schemas.__all__ if name.endswith("Record") and name != "Record"
    }
    assert public <= set(TABLES.values())


@pytest.mark.parametrize("record", TABLES.values(), ids=lambda record: record.__name__)
def test_columns_are_the_fields_in_order(record: type[Record]) -> None:
    assert tuple(field.name for field in dataclasses.fields(record)) == tuple(record.SCHEMA.names)
