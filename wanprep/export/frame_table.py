"""Records as Parquet files of one row a frame, lossless both ways: what DuckDB and pandas read without us.

Numbers that are not per frame stand as JSON in the file's metadata, under `wanprep`. Compressed frames (masks, face
crops) are the column `block`, byte for byte as in the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from schemas import Record
from schemas.tensor import TENSOR, Tensor
from wanprep.errors import WanprepError
from wanprep.spool import ArraySpool, BlockSpool

_METADATA = b"wanprep"
_BATCH = 256  # frames written or read at a time
_LIST_LIMIT = 1 << 12  # values of a tensor that is not per frame
_MAX_BLOCK = 64 << 20  # bytes of one compressed frame
# What reading and putting together a file of others' making has been seen to raise.
_DAMAGED = (
    pa.ArrowException,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RecursionError,
    OverflowError,
)


class BadTable(WanprepError):
    """A file is no frame table of this record, or damaged; the message says where."""


@dataclass(frozen=True, slots=True)
class TableLayout:
    """How a record lies in a table: its tensors by frame (dtype, shape of a row), its tensors as a whole, and
    whether it has compressed frames (`blocks` and `offsets_T`). A tensor by frame that is None has no column."""

    record: type[Record]
    by_frame: Mapping[str, tuple[str, tuple[int, ...]]]
    whole: Mapping[str, tuple[str, tuple[int, ...]]]
    blocks: bool = False

    def column(self, name: str) -> str:
        """A tensor's column: `keypoints_TKC` by frame is `keypoints_KC`, `status_T` is `status`."""
        return name.replace("_T", "_", 1).rstrip("_")

    def must_have(self, name: str) -> bool:
        """Whether every record has this tensor."""
        return not self.record.SCHEMA.field(name).nullable


def write_frame_table(path: Path, record: Record, layout: TableLayout, fps: float) -> None:
    """Writes a record; `fps` gives the column `seconds`, from the clip's first frame.

    Raises:
        ValueError: a tensor of the record is not as the layout says.
    """
    frames = int(getattr(record, "frames"))  # noqa: B009  # not every record has it
    present = [name for name in layout.by_frame if getattr(record, name) is not None]
    for name in present:
        dtype, shape = layout.by_frame[name]
        tensor = getattr(record, name)
        if tuple(tensor.shape) != (frames, *shape) or str(tensor.dtype) != dtype:
            raise ValueError(
                f"{name} is {tensor.dtype} {tuple(tensor.shape)}, not {dtype} {(frames, *shape)}"
            )
    about = {
        "record": layout.record.__name__,
        "values": {name: getattr(record, name) for name in _plain(layout)},
        "tensors": {name: np.asarray(getattr(record, name)).tolist() for name in layout.whole},
    }
    schema = _schema(layout, present).with_metadata({_METADATA: json.dumps(about).encode()})
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for start in range(0, frames, _BATCH):
            stop = min(start + _BATCH, frames)
            writer.write_batch(
                _batch(record, layout, present, schema, start, stop, fps), row_group_size=_BATCH
            )


def read_frame_table(path: Path, layout: TableLayout, scratch: Path) -> Record:
    """The record of a file; its large tensors are spooled to files without a name in `scratch`.

    Raises:
        BadTable: another record's, damaged, or made by someone who means harm.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            about = json.loads((file.schema_arrow.metadata or {}).get(_METADATA, b"null"))
            if not isinstance(about, dict) or about.get("record") != layout.record.__name__:
                raise BadTable(f"{path.name}: is no table of {layout.record.__name__}")
            present = [
                name
                for name in layout.by_frame
                if layout.must_have(name) or layout.column(name) in file.schema_arrow.names
            ]
            if file.schema_arrow.remove_metadata() != (wanted := _schema(layout, present)):
                raise BadTable(f"{path.name}: has other columns than {', '.join(wanted.names)}")
            return _record(file, about, layout, present, scratch)
    except _DAMAGED as error:
        raise BadTable(f"{path.name}: is damaged ({' '.join(str(error).split())[:200]})") from error


def _plain(layout: TableLayout) -> list[str]:
    return [column.name for column in layout.record.SCHEMA if column.type != TENSOR]


def _schema(layout: TableLayout, present: Sequence[str]) -> pa.Schema:
    columns = [
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
    ]
    for name in present:
        dtype, shape = layout.by_frame[name]
        value = pa.from_numpy_dtype(np.dtype(dtype))
        kind = pa.list_(value, int(np.prod(shape))) if shape else value
        columns.append(pa.field(layout.column(name), kind, nullable=False))
    if layout.blocks:
        columns.append(pa.field("block", pa.binary(), nullable=False))
    return pa.schema(columns)


def _batch(
    record: Record,
    layout: TableLayout,
    present: Sequence[str],
    schema: pa.Schema,
    start: int,
    stop: int,
    fps: float,
) -> pa.RecordBatch:
    numbers = np.arange(start, stop)
    arrays: list[Any] = [pa.array(numbers), pa.array(numbers / fps)]
    for name in present:
        shape = layout.by_frame[name][1]
        rows = np.ascontiguousarray(getattr(record, name)[start:stop])
        flat = pa.array(rows.reshape(-1))
        arrays.append(
            pa.FixedSizeListArray.from_arrays(flat, type=schema.field(layout.column(name)).type)
            if shape
            else flat
        )
    if layout.blocks:
        arrays.append(pa.array(list(_blocks(record, start, stop)), pa.binary()))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _blocks(record: Any, start: int, stop: int) -> Iterator[bytes]:
    for frame in range(start, stop):
        begin, end = np.asarray(record.offsets_T[frame : frame + 2])
        yield np.asarray(record.blocks[int(begin) : int(end)]).tobytes()


def _record(
    file: pq.ParquetFile, about: dict[str, Any], layout: TableLayout, present: Sequence[str], scratch: Path
) -> Record:
    frames = file.metadata.num_rows
    values = {name: about["values"].get(name) for name in _plain(layout)}
    if type(values["frames"]) is not int or values["frames"] != frames or frames < 1:
        raise ValueError(f"{frames} rows for {values['frames']} frames")
    spools = {name: ArraySpool(*layout.by_frame[name], scratch) for name in present}
    blocks = BlockSpool(scratch) if layout.blocks else None
    done = 0
    for batch in file.iter_batches(_BATCH):
        if batch.column("frame").to_pylist() != list(range(done, done + len(batch))):
            raise ValueError("the rows are not the frames in order")
        done += len(batch)
        for name, spool in spools.items():
            spool.append(_rows(batch.column(layout.column(name)), layout.by_frame[name][1]))
        for block in batch.column("block").to_pylist() if blocks is not None else ():
            if len(block) > _MAX_BLOCK:
                raise ValueError(f"a frame of {len(block)} compressed bytes")
            assert blocks is not None
            blocks.add(block)
    tensors: dict[str, Tensor] = {name: spool.tensor() for name, spool in spools.items()}
    for name, (dtype, shape) in layout.whole.items():
        tensors[name] = _whole(about["tensors"][name], dtype, shape)
    if blocks is not None:
        tensors |= {"blocks": blocks.blocks, "offsets_T": blocks.offsets_T}
    made: Record = layout.record(**_checked(layout, values), **tensors)
    return made


def _rows(column: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if column.null_count:
        raise ValueError("a value is missing")
    flat = column.flatten() if shape else column
    if flat.null_count:
        raise ValueError("a value is missing")
    rows: npt.NDArray[Any] = flat.to_numpy(zero_copy_only=False).reshape(len(column), *shape)
    return rows


def _whole(value: Any, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if not isinstance(value, list) or len(value) > _LIST_LIMIT:
        raise ValueError("a tensor is no list of numbers")
    tensor: npt.NDArray[Any] = np.array(value, dtype=dtype)
    if tensor.shape != shape:
        raise ValueError(f"a tensor of {tensor.shape}, not {shape}")
    return tensor


def _checked(layout: TableLayout, values: dict[str, Any]) -> dict[str, Any]:
    """The values as their columns' types take them; raises what Arrow raises otherwise."""
    types = {column.name: column for column in layout.record.SCHEMA}
    for name, value in values.items():
        if value is None and not types[name].nullable:
            raise ValueError(f"{name} is missing")
        pa.scalar(value, types[name].type)
    known = {item.name for item in fields(layout.record)}
    return {name: value for name, value in values.items() if name in known}
