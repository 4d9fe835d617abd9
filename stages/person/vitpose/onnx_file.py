"""Writes small ONNX networks, a Protocol Buffers message each, so that making them needs no package.

Field numbers are those of onnx.proto (ONNX's IR specification); values are little-endian as it asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

FLOAT, INT64 = 1, 7  # TensorProto.DataType
_INT, _INTS = 2, 7  # AttributeProto.AttributeType
_EXTERNAL = 1  # TensorProto.DataLocation
_OPSET, _IR = 13, 9
_LEAST_OUTSIDE = 64  # bytes of a tensor that is worth a file of its own

Shape = Sequence[int | str]  # a name stands for any number


class OnnxGraph:
    """Nodes and constants of a network from one tensor to another."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[tuple[str, npt.NDArray[np.float32] | npt.NDArray[np.int64]]] = []

    def constant(self, name: str, value: npt.ArrayLike) -> str:
        """A tensor: float32. Returns `name`."""
        self._constants.append((name, np.asarray(value, "<f4")))
        return name

    def numbers(self, name: str, value: Sequence[int]) -> str:
        """A tensor of int64, for axes and sizes. Returns `name`."""
        self._constants.append((name, np.asarray(value, "<i8")))
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: int | Sequence[int]) -> str:
        """An operator of ONNX's own set. Returns `output`."""
        fields = [_text(1, name) for name in inputs] + [_text(2, output), _text(4, kind)]
        self._nodes.append(
            b"".join([*fields, *(_bytes(5, _attribute(*pair)) for pair in attributes.items())])
        )
        return output

    def write(
        self, path: Path, taken: tuple[str, Shape], given: tuple[str, Shape], outside: bool = False
    ) -> Path:
        """Writes the network from one float32 tensor to another, each a name and a shape; returns `path`.

        `outside` keeps larger constants in files beside it, named as they are.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        graph = [_bytes(1, node) for node in self._nodes] + [_text(2, path.stem)]
        for name, value in self._constants:
            alone = outside and value.nbytes >= _LEAST_OUTSIDE
            if alone:
                (path.parent / name).write_bytes(value.tobytes())
            graph.append(_bytes(5, _tensor(name, value, alone)))
        graph += [_bytes(11, _value(*taken)), _bytes(12, _value(*given))]
        opset = _text(1, "") + _number(2, _OPSET)
        model = [_number(1, _IR), _text(2, "wanprep"), _bytes(7, b"".join(graph)), _bytes(8, opset)]
        path.write_bytes(b"".join(model))
        return path


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, _INT)
    return _text(1, name) + b"".join(_number(8, item) for item in value) + _number(20, _INTS)


def _tensor(name: str, value: npt.NDArray[np.float32] | npt.NDArray[np.int64], outside: bool) -> bytes:
    kind = FLOAT if value.dtype.kind == "f" else INT64
    head = b"".join(_number(1, size) for size in value.shape) + _number(2, kind) + _text(8, name)
    if not outside:
        return head + _bytes(9, value.tobytes())
    where = {"location": name, "offset": "0", "length": str(value.nbytes)}
    entries = (_bytes(13, _text(1, key) + _text(2, text)) for key, text in where.items())
    return head + b"".join(entries) + _number(14, _EXTERNAL)


def _value(name: str, shape: Shape) -> bytes:
    sizes = (_number(1, size) if isinstance(size, int) else _text(2, size) for size in shape)
    tensor = _number(1, FLOAT) + _bytes(2, b"".join(_bytes(1, size) for size in sizes))
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first. Raises ValueError for a number below 0, which none of ours is."""
    if value < 0:
        raise ValueError(f"{value} is below 0")
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
