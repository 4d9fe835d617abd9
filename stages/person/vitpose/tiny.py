"""Tiny ONNX networks with the inputs and outputs of YOLOv10-M and ViTPose-H.

They really find what is painted: a person is a rectangle of pure red or pure green, a dog one of pure blue, and whoever
is in a crop stands in the same pose. So a whole chain can be tried, and tested, without the real weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from stages.person.coco_wholebody import COUNT
from stages.person.vitpose.detector import SIDE
from stages.person.vitpose.heatmaps import COLUMNS, ROWS
from stages.person.vitpose.onnx_file import FLOAT, OnnxGraph
from stages.person.vitpose.pose_input import HEIGHT, WIDTH

DETECTIONS = 300  # rows that the detector gives
PERSON, DOG = 0, 16  # classes of COCO
SCORES = (0.9, 0.8, 0.95)  # of a red, green and blue rectangle
_SIGMA = 2.0  # cells, of a heatmap's peak
_JITTER = 0.002  # of the crop's sides, by which a seed moves each point

Doubles = npt.NDArray[np.float64]


def make_detector(folder: Path, seed: int) -> None:
    """The tiny checkpoint of `yolov10m`: one file. It has no random weights, so every seed gives the same bytes."""
    write_detector(folder / "yolov10m.onnx")


def make_pose(folder: Path, seed: int) -> None:
    """The tiny checkpoint of `vitpose-h-wholebody`: the network and its tensors in files beside it, as in the official
    repository. The seed moves the points a little."""
    write_pose(folder / "end2end.onnx", outside=True, seed=seed)


def layout_KC(seed: int = 0) -> Doubles:
    """Where the 133 points lie in a crop, shares of its width and height: [133,2], a standing person.

    Seed 0 is the plain layout; others move each point by up to 0.002.
    """
    points = np.zeros((COUNT, 2))
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
    if seed:
        points += np.random.default_rng(seed).uniform(-_JITTER, _JITTER, points.shape)
    return points


def face_68() -> Doubles:
    """A plain frontal face in iBUG 300-W order: [68,2] about its middle, 1 between the ears."""
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
    inner = outer[[0, 2, 3, 4, 6, 8, 9, 10]] * [0.8, 1]
    inner[:, 1] = 0.33 + (inner[:, 1] - 0.33) * 0.5
    left_eye = (eye * mirror)[[3, 2, 1, 0, 5, 4]]
    return np.concatenate([jaw, brow, (brow * mirror)[::-1], bridge, base, eye, left_eye, outer, inner])


def write_detector(path: Path, batch: int | None = None) -> Path:
    """A network [B,3,640,640] -> [B,300,6] (x0 y0 x1 y1 score class); `batch` fixes B, as an export without dynamic
    axes does.
    """
    graph = OnnxGraph()
    constant, node = graph.constant, graph.node
    # Pure colour c: twice its channel less the sum of all is near 1; black gives 0 and white -1.
    total = node("ReduceSum", ["images", graph.numbers("channel_axis", [1])], "total", keepdims=1)
    purity = node("Sub", [node("Mul", ["images", constant("two", 2)], "twice"), total], "purity")
    pure = node("Greater", [purity, constant("half", 0.5)], "pure")
    mask = node("Cast", [pure], "mask", to=FLOAT)
    by_x = node("ReduceMax", [mask], "by_x", axes=[2], keepdims=0)
    by_y = node("ReduceMax", [mask], "by_y", axes=[3], keepdims=0)
    edges = []
    for name, line, last in (("x0", by_x, 0), ("y0", by_y, 0), ("x1", by_x, 1), ("y1", by_y, 1)):
        index = node("ArgMax", [line], f"{name}_index", axis=2, keepdims=1, select_last_index=last)
        number = node("Cast", [index], f"{name}_number", to=FLOAT)
        edges.append(node("Add", [number, constant(f"{name}_end", float(last))], name))
    there = node("ReduceMax", [by_x], "there", axes=[2], keepdims=1)
    score = node("Mul", [there, constant("scores", np.reshape(SCORES, (1, 3, 1)))], "score")
    kind = node("Mul", [there, constant("classes", np.reshape([PERSON, PERSON, DOG], (1, 3, 1)))], "kind")
    rows = node("Concat", [*edges, score, kind], "rows", axis=2)
    node("Pad", [rows, graph.numbers("padding", [0, 0, 0, 0, DETECTIONS - 3, 0])], "output0")
    count = batch or "batch"
    return graph.write(
        path, ("images", [count, 3, SIDE, SIDE]), ("output0", [count, DETECTIONS, len(edges) + 2])
    )


def write_pose(path: Path, batch: int | None = None, outside: bool = False, seed: int = 0) -> Path:
    """A network [B,3,256,192] -> [B,133,64,48]: peaks at `layout_KC`, the higher the brighter the input is in one of
    its channels. `outside` keeps its tensors in files beside it, as the official export does.
    """
    graph = OnnxGraph()
    constant, node = graph.constant, graph.node
    cells_KC = layout_KC(seed) * [COLUMNS, ROWS]
    distances = []
    for name, along, axis in (("x", [1, 1, 1, COLUMNS], 0), ("y", [1, 1, ROWS, 1], 1)):
        cell = constant(f"{name}_cells", np.arange(max(along)).reshape(along))
        peak = constant(f"{name}_peaks", cells_KC[:, axis].reshape(1, COUNT, 1, 1))
        away = node("Sub", [cell, peak], f"{name}_away")
        distances.append(node("Mul", [away, away], f"{name}_squared"))
    distance = node("Add", distances, "distance")
    peaks = node("Exp", [node("Mul", [distance, constant("narrow", -1 / (2 * _SIGMA**2))], "log")], "peaks")
    channels = node("ReduceMean", ["input"], "channels", axes=[2, 3], keepdims=1)
    bright = node("ReduceMax", [channels], "bright", axes=[1], keepdims=1)
    heights = node("Sigmoid", [node("Add", [bright, constant("one", 1)], "brighter")], "heights")
    node("Mul", [peaks, heights], "output")
    count = batch or "batch"
    return graph.write(
        path, ("input", [count, 3, HEIGHT, WIDTH]), ("output", [count, COUNT, ROWS, COLUMNS]), outside
    )
