"""Small ONNX networks with the inputs and outputs of YOLOv10-M and ViTPose-H, which really find what is painted.

A person is a rectangle of pure red or pure green; a dog is one of pure blue. Whoever is in a crop has the same pose.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROWS = 300
PERSON, DOG = 0, 16
SCORES = (0.9, 0.8, 0.95)  # red, green, blue
SIDE, HEIGHT, WIDTH = 640, 256, 192
MAP_ROWS, MAP_COLUMNS = 64, 48
_SIGMA = 2.0  # cells


def layout_KC() -> np.ndarray:
    """Where the 133 points lie in a crop, fractions of its width and height: [133,2], a standing person."""
    points = np.zeros((133, 2))
    points[:17] = [
        (.5, .2), (.53, .18), (.47, .18), (.56, .19), (.44, .19), (.62, .32), (.38, .32), (.67, .45), (.33, .45),
        (.7, .57), (.3, .57), (.57, .57), (.43, .57), (.58, .72), (.42, .72), (.58, .86), (.42, .86),
    ]  # fmt: skip
    points[17:23] = [(.6, .9), (.63, .89), (.57, .89), (.4, .9), (.37, .89), (.43, .89)]  # fmt: skip
    points[23:91] = [0.5, 0.2] + face_68() * [0.12, 0.12]
    finger = np.linspace(0.01, 0.05, 4)
    for start, (x, y), side in ((91, (0.7, 0.57), 1), (112, (0.3, 0.57), -1)):
        fan = [(x, y)] + [
            (x + side * r * np.cos(a), y + r * np.sin(a)) for a in np.linspace(0, 1.4, 5) for r in finger
        ]
        points[start : start + 21] = fan
    return points


def face_68() -> np.ndarray:
    """A plain frontal face: [68,2] about its middle, 1 between the ears."""
    turn = np.linspace(0, np.pi, 17)
    jaw = np.stack([-0.5 * np.cos(turn), -0.1 + 0.65 * np.sin(turn)], axis=1)
    brow = np.stack([np.linspace(-0.4, -0.1, 5), np.full(5, -0.25)], axis=1)
    bridge = np.stack([np.zeros(4), np.linspace(-0.15, 0.1, 4)], axis=1)
    base = np.stack([np.linspace(-0.1, 0.1, 5), np.full(5, 0.17)], axis=1)
    eye = np.array(
        [(-0.32, -0.12), (-0.27, -0.15), (-0.2, -0.15), (-0.13, -0.12), (-0.2, -0.09), (-0.27, -0.09)]
    )
    mirror = [-1, 1]
    ring = np.linspace(np.pi, 3 * np.pi, 13)[:-1]
    outer = np.stack([0.2 * np.cos(ring), 0.33 + 0.08 * np.sin(ring)], axis=1)
    inner = outer[[0, 2, 3, 4, 6, 8, 9, 10]] * [0.8, 1] - [0, 0]
    inner[:, 1] = 0.33 + (inner[:, 1] - 0.33) * 0.5
    left_eye = (eye * mirror)[[3, 2, 1, 0, 5, 4]]
    return np.concatenate([jaw, brow, (brow * mirror)[::-1], bridge, base, eye, left_eye, outer, inner])


def write_detector(path: Path, batch: int | None = None) -> Path:
    """A network [B,3,640,640] -> [B,300,6]; `batch` fixes B, as an export without dynamic axes does."""
    nodes, constants = [], {}

    def constant(name: str, value: object, dtype: type = np.float32) -> str:
        constants[name] = numpy_helper.from_array(np.array(value, dtype), name)
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    # Pure colour c: twice its channel less the sum of all is near 1; black gives 0 and white -1.
    total = node("ReduceSum", ["images", constant("channel_axis", [1], np.int64)], "total", keepdims=1)
    purity = node("Sub", [node("Mul", ["images", constant("two", 2)], "twice"), total], "purity")
    mask = node(
        "Cast", [node("Greater", [purity, constant("half", 0.5)], "pure")], "mask", to=TensorProto.FLOAT
    )
    by_x = node("ReduceMax", [mask], "by_x", axes=[2], keepdims=0)
    by_y = node("ReduceMax", [mask], "by_y", axes=[3], keepdims=0)
    edges = []
    for name, line, last in (("x0", by_x, 0), ("y0", by_y, 0), ("x1", by_x, 1), ("y1", by_y, 1)):
        index = node("ArgMax", [line], f"{name}_index", axis=2, keepdims=1, select_last_index=last)
        number = node("Cast", [index], f"{name}_number", to=TensorProto.FLOAT)
        edges.append(node("Add", [number, constant(f"{name}_end", float(last))], name))
    there = node("ReduceMax", [by_x], "there", axes=[2], keepdims=1)
    score = node("Mul", [there, constant("scores", np.reshape(SCORES, (1, 3, 1)))], "score")
    kind = node("Mul", [there, constant("classes", np.reshape([PERSON, PERSON, DOG], (1, 3, 1)))], "kind")
    rows = node("Concat", [*edges, score, kind], "rows", axis=2)
    node("Pad", [rows, constant("padding", [0, 0, 0, 0, ROWS - 3, 0], np.int64)], "output0")
    return _write(
        path,
        nodes,
        constants,
        ("images", [batch or "batch", 3, SIDE, SIDE]),
        ("output0", [batch or "batch", ROWS, 6]),
    )


def write_pose(path: Path, batch: int | None = None, outside: bool = False) -> Path:
    """A network [B,3,256,192] -> [B,133,64,48]: peaks at `layout_KC`, the higher the brighter the input is in
    one of its channels. `outside` keeps its tensors in files beside it, as the official export does."""
    cells_KC = layout_KC() * [MAP_COLUMNS, MAP_ROWS]
    x_K11, y_K11 = (cells_KC[:, axis].reshape(1, 133, 1, 1) for axis in (0, 1))
    values = {
        "x": x_K11,
        "y": y_K11,
        "columns": np.arange(MAP_COLUMNS).reshape(1, 1, 1, MAP_COLUMNS),
        "rows": np.arange(MAP_ROWS).reshape(1, 1, MAP_ROWS, 1),
        "narrow": -1 / (2 * _SIGMA**2),
        "one": 1,
    }
    constants = {
        name: numpy_helper.from_array(np.array(value, np.float32), name) for name, value in values.items()
    }
    nodes = [
        helper.make_node("Sub", ["columns", "x"], ["dx"]),
        helper.make_node("Sub", ["rows", "y"], ["dy"]),
        helper.make_node("Mul", ["dx", "dx"], ["dx2"]),
        helper.make_node("Mul", ["dy", "dy"], ["dy2"]),
        helper.make_node("Add", ["dx2", "dy2"], ["distance"]),
        helper.make_node("Mul", ["distance", "narrow"], ["log"]),
        helper.make_node("Exp", ["log"], ["peaks"]),
        helper.make_node("ReduceMean", ["input"], ["channels"], axes=[2, 3], keepdims=1),
        helper.make_node("ReduceMax", ["channels"], ["bright"], axes=[1], keepdims=1),
        helper.make_node("Add", ["bright", "one"], ["brighter"]),
        helper.make_node("Sigmoid", ["brighter"], ["heights"]),
        helper.make_node("Mul", ["peaks", "heights"], ["output"]),
    ]
    shape = [batch or "batch", 133, MAP_ROWS, MAP_COLUMNS]
    return _write(
        path, nodes, constants, ("input", [batch or "batch", 3, HEIGHT, WIDTH]), ("output", shape), outside
    )


def _write(path, nodes, constants, taken, given, outside=False) -> Path:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(taken[0], TensorProto.FLOAT, taken[1])],
        [helper.make_tensor_value_info(given[0], TensorProto.FLOAT, given[1])],
        list(constants.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    if outside:
        onnx.save_model(
            model, path, save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=64
        )
    else:
        onnx.save_model(model, path)
    return path
