"""Random reads of large tensors from a store against preadv of the same bytes from one raw file, and writing
against write()."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from bench.measure import WORK, seconds, show
from schemas import Record
from schemas.tensor import TENSOR, Tensor
from wanprep.store.shard import ShardWriter
from wanprep.store.store import Store

_CLIPS_PER_SHARD = 32
_PAIRS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning(Record):
    """What a training step reads of a clip; 16-bit floats stand in for bfloat16, which is as wide."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [pa.field(n, TENSOR) for n in ("latents_CTHW", "text_TC", "keypoints_TKC")]
    )

    latents_CTHW: Tensor  # float16 [16,21,60,104]
    text_TC: Tensor  # float16 [40..200,4096]
    keypoints_TKC: Tensor  # float32 [77,133,3]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench shards", description=__doc__)
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--read", type=int, default=48)
    options = parser.parse_args(arguments)
    shutil.rmtree(WORK / "shards", ignore_errors=True)
    (WORK / "shards").mkdir(parents=True)
    records = [_record(number) for number in range(options.clips)]
    payload = sum(t.nbytes for record in records for t in _tensors(record))
    raw = WORK / "shards" / "raw.bin"
    folder = WORK / "shards" / "store"

    write_ratio = []
    for _ in range(_PAIRS):
        ours = seconds(lambda: _write_store(folder, records), repeats=1, warm=0)
        floor = seconds(lambda: _write_raw(raw, records), repeats=1, warm=0)
        write_ratio.append((ours, floor))
    stored = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())

    store = Store.open(str(folder))
    chosen = random.Random(0).sample(range(options.clips), options.read)
    buffers = [np.empty(1 << 23, np.uint8) for _ in range(3)]
    offsets = _offsets(records)
    handle = os.open(raw, os.O_RDONLY)
    read_ratio = []
    for _ in range(_PAIRS):
        ours = seconds(lambda: _read_store(store, chosen, buffers), repeats=1, warm=1)
        floor = seconds(lambda: _read_raw(handle, chosen, offsets, buffers), repeats=1, warm=1)
        read_ratio.append((ours, floor))
    os.close(handle)

    show(
        f"Shards: {options.clips} clips, {payload / 1e6:.0f} MB; {options.read} random ones read, {_PAIRS} pairs",
        ["", "ours, ms", "floor, ms", "ratio", "bar"],
        [
            _row("random read, copied to buffers, against preadv", read_ratio, "3"),
            _row("write and fsync, against write() and fsync", write_ratio, "1.7"),
            [
                "bytes on disk against payload",
                f"{stored:,}",
                f"{payload:,}",
                f"{stored / payload:.4f}",
                "1.01",
            ],
        ],
    )
    shutil.rmtree(WORK / "shards")


def _row(name: str, pairs: list[tuple[float, float]], bar: str) -> list[object]:
    ratio = statistics.median(ours / floor for ours, floor in pairs)
    ours, floor = (statistics.median(pair[i] for pair in pairs) * 1e3 for i in (0, 1))
    return [name, ours, floor, ratio, bar]


def _record(number: int) -> Conditioning:
    random_source = np.random.default_rng(number)
    tokens = int(random_source.integers(40, 201))
    return Conditioning(
        latents_CTHW=random_source.standard_normal((16, 21, 60, 104), np.float32).astype(np.float16),
        text_TC=random_source.standard_normal((tokens, 4096), np.float32).astype(np.float16),
        keypoints_TKC=random_source.standard_normal((77, 133, 3), np.float32),
    )


def _tensors(record: Conditioning) -> tuple[Tensor, Tensor, Tensor]:
    return record.latents_CTHW, record.text_TC, record.keypoints_TKC


def _write_store(folder: Path, records: list[Conditioning]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    store = Store.create(str(folder))
    for start in range(0, len(records), _CLIPS_PER_SHARD):
        part = records[start : start + _CLIPS_PER_SHARD]
        with ShardWriter(
            store.files, "conditioning", f"part-{start}", Conditioning, rows=len(part), metadata={}
        ) as writer:
            for number, record in enumerate(part, start):
                writer.add(f"{number:032x}", str(number), record)
            writer.commit()


def _write_raw(path: Path, records: list[Conditioning]) -> None:
    with path.open("wb", buffering=0) as file:
        for record in records:
            for tensor in _tensors(record):
                file.write(tensor.data)
        os.fsync(file.fileno())


def _offsets(records: list[Conditioning]) -> list[list[tuple[int, int]]]:
    position, result = 0, []
    for record in records:
        row = []
        for tensor in _tensors(record):
            row.append((position, tensor.nbytes))
            position += tensor.nbytes
        result.append(row)
    return result


def _read_store(store: Store, chosen: list[int], buffers: list[np.ndarray]) -> None:
    for number in chosen:
        found = store.artifact("conditioning", f"{number:032x}")
        assert found is not None
        for tensor, buffer in zip(
            (found.latents_CTHW, found.text_TC, found.keypoints_TKC), buffers, strict=True
        ):
            np.copyto(buffer[: tensor.nbytes], tensor.reshape(-1).view(np.uint8))


def _read_raw(
    handle: int, chosen: list[int], offsets: list[list[tuple[int, int]]], buffers: list[np.ndarray]
) -> None:
    for number in chosen:
        for (offset, nbytes), buffer in zip(offsets[number], buffers, strict=True):
            os.preadv(handle, [buffer[:nbytes]], offset)
