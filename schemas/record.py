"""Base of all typed records: a frozen dataclass whose fields are the columns of an Arrow schema."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeAlias

import pyarrow as pa

from schemas.tensor import TENSOR, Tensor, TensorRef

PutTensor: TypeAlias = Callable[[str, Tensor], TensorRef]
GetTensor: TypeAlias = Callable[[TensorRef], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row of a table. `SCHEMA` lists its columns in order; the field names are the column names.

    Tensor columns hold NumPy arrays in the record and `schemas.tensor.TENSOR` cells in the table.
    """

    SCHEMA: ClassVar[pa.Schema]

    def to_row(self, put: PutTensor | None = None) -> dict[str, Any]:
        """The Arrow row. `put(name, tensor)` stores a tensor and says where.

        Raises:
            TypeError: the record has tensors and no `put` was given.
        """
        row: dict[str, Any] = {}
        for column in self.SCHEMA:
            value = getattr(self, column.name)
            if column.type == TENSOR and value is not None:
                if put is None:
                    raise TypeError(f"{type(self).__name__}.{column.name} is a tensor: to_row needs `put`")
                value = put(column.name, value).to_cell()
            row[column.name] = value
        return row

    def as_stored(self) -> Self:
        """This record as a reader will see it: numbers rounded to their columns' types, tensors as they are."""
        names, tensors, maps = _columns(type(self))  # type: ignore[arg-type]
        plain = [name for name in names if name not in tensors and name not in maps]
        rounded = {
            name: pa.scalar(getattr(self, name), self.SCHEMA.field(name).type).as_py() for name in plain
        }
        return replace(self, **rounded)

    @classmethod
    def from_row(cls, row: Mapping[str, Any], get: GetTensor | None = None) -> Self:
        """The record of an Arrow row; columns the schema does not know are ignored.

        Raises:
            TypeError: the row has tensors and no `get` was given.
            KeyError: a column is missing.
        """
        names, tensors, maps = _columns(cls)  # type: ignore[arg-type]  # classes hash by identity
        values = {name: row[name] for name in names}
        for name in tensors:
            if values[name] is not None:
                if get is None:
                    raise TypeError(f"{cls.__name__}.{name} is a tensor: from_row needs `get`")
                values[name] = get(TensorRef.from_cell(values[name]))
        for name in maps:
            if values[name] is not None:
                values[name] = dict(values[name])
        return cls(**values)

    @classmethod
    def tensor_columns(cls) -> tuple[str, ...]:
        return _columns(cls)[1]  # type: ignore[arg-type]


@functools.cache
def _columns(record: type[Record]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Names of all columns, of the tensors and of the maps; worked out once, a million rows are read with it."""
    schema = record.SCHEMA
    return (
        tuple(schema.names),
        tuple(column.name for column in schema if column.type == TENSOR),
        tuple(column.name for column in schema if pa.types.is_map(column.type)),
    )
