"""A spool equals the array of all its rows, in memory and on disk, and leaves nothing behind."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tensor import TensorStream
from wanprep import spool as spool_module
from wanprep.spool import ArraySpool, BlockSpool

ROW_SHAPES = st.sampled_from([(), (3,), (0,), (2, 5), (133, 3)])
DTYPES = st.sampled_from([np.uint8, np.bool_, np.float16, np.float32, np.int64])


@given(
    st.lists(st.integers(0, 40), max_size=12),
    ROW_SHAPES,
    DTYPES,
    st.sampled_from([0, 100, 1 << 20]),
    st.data(),
)
def test_spool_equals_the_concatenation(
    sizes: list[int], row_shape: tuple[int, ...], dtype: type, limit: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(len(sizes))
    parts = [(rng.random((size, *row_shape)) * 200).astype(dtype) for size in sizes]
    whole = np.concatenate([np.zeros((0, *row_shape), dtype), *parts])
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(spool_module, "_MEMORY_LIMIT", limit)
        patch.setattr(spool_module, "_CHUNK", 1000)
        spool = ArraySpool(dtype, row_shape, Path(folder))
        for part in parts:
            spool.append(part)
        assert isinstance(spool, TensorStream)
        assert spool.shape == whole.shape and len(spool) == len(whole)
        np.testing.assert_array_equal(spool[:], whole)
        np.testing.assert_array_equal(np.asarray(spool), whole)
        np.testing.assert_array_equal(np.concatenate([whole[:0], *spool.chunks()]), whole)
        start = data.draw(st.integers(-len(whole) - 1, len(whole) + 1))
        stop = data.draw(st.integers(-len(whole) - 1, len(whole) + 1))
        np.testing.assert_array_equal(spool[start:stop], whole[start:stop])
        assert os.listdir(folder) == []
        spool.close()
        assert os.listdir(folder) == []


def test_reading_between_appends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "_MEMORY_LIMIT", 64)
    spool = ArraySpool(np.int64, (), tmp_path)
    for end in range(1, 50):
        spool.append([end - 1])
        np.testing.assert_array_equal(spool[:], np.arange(end))


def test_large_rows_go_to_disk_and_leave_memory(tmp_path: Path) -> None:
    spool = ArraySpool(np.uint8, (1 << 16,), tmp_path)
    before = os.statvfs(tmp_path)
    for _ in range(64):
        spool.append(np.ones((1, 1 << 16), np.uint8))
        assert len(spool._memory) <= spool_module._MEMORY_LIMIT
    assert before.f_bsize
    assert os.listdir(tmp_path) == []
    assert spool[60:].sum() == 4 << 16
    spool.close()


def test_rows_of_another_shape_are_refused(tmp_path: Path) -> None:
    spool = ArraySpool(np.float32, (3,), tmp_path)
    with pytest.raises(ValueError, match=r"\(4,\) given to a spool of \(3,\)"):
        spool.append(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="row by row"):
        spool[::2]
    assert len(spool) == 0


def test_blocks_keep_their_offsets(tmp_path: Path) -> None:
    blocks = BlockSpool(tmp_path)
    for block in (b"abc", b"", b"defgh"):
        blocks.add(block)
    assert bytes(blocks.blocks[:]) == b"abcdefgh"
    assert blocks.offsets_T.tolist() == [0, 3, 3, 8]
    blocks.close()


def test_reads_that_the_system_cuts_short_are_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux reads 2 GiB at most in one call: longer tensors came back short."""
    monkeypatch.setattr(spool_module, "_MEMORY_LIMIT", 0)
    spool = ArraySpool(np.uint8, (), tmp_path)
    spool.append(np.arange(250, dtype=np.uint8))
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, nbytes, offset: pread(file, min(nbytes, 100), offset))
    np.testing.assert_array_equal(spool[:], np.arange(250))
