"""Draws the pictures of docs/animate.md: `python docs/images/make.py [FOLDER]`, about a minute on an idle core.

Everything in them comes from wanprep's own drawn clips, prepared and exported by the commands that the page tells;
nothing needs weights.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from wanprep.export.export import export
from wanprep.runner import run
from wanprep.sample.clip import plan_clip, render_frames, varied_look, write_sample_clip

Picture = npt.NDArray[np.uint8]

HEIGHT, GAP, STRIP = 200, 6, 24  # pixels
PAPER, INK = (24, 25, 28), (225, 225, 228)
SHOWN = (12, 40)  # frames of the clip
AREA = 480 * 640

PEOPLE: dict[str, Any] = {"skeleton": {}, "face": {}, "face_crops": {}}
ANIMATE = {**PEOPLE, "reference_skeleton": {}, "retarget": {"size": {"area": AREA}}}
REPLACE = {**PEOPLE, "mask": {}, "replace_mask": {"size": {"area": AREA}}}
GRID = {**PEOPLE, "mask": {}, "replace_mask": {"size": {"area": AREA}, "w_len": 12, "h_len": 16}}
TIGHT = {**PEOPLE, "mask": {}, "replace_mask": {"size": {"area": AREA}, "iterations": 0}}


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        video = write_sample_clip(place / "dance.mp4", seconds=2.0, fps=30)
        reference = _reference(place / "character.png")
        made = {
            name: _exported(place, name, stages, video, reference)
            for name, stages in (
                ("animate", ANIMATE),
                ("plain", PEOPLE),
                ("replace", REPLACE),
                ("grid", GRID),
                ("tight", TIGHT),
            )
        }
        driving = _frames(video)
        character = [cv2.imread(str(reference))[:, :, ::-1]] * len(SHOWN)
        animated, replaced = made["animate"], made["replace"]
        _write(
            out / "animate.png",
            ("reference", "driving video", "src_pose.mp4", "src_face.mp4"),
            [character, driving, _frames(animated / "src_pose.mp4"), _frames(animated / "src_face.mp4")],
        )
        _write(
            out / "animate-replace.png",
            ("driving video", "src_pose.mp4", "src_bg.mp4", "src_mask.mp4"),
            [driving, *(_frames(replaced / f"src_{name}.mp4") for name in ("pose", "bg", "mask"))],
        )
        _write(
            out / "animate-limbs.png",
            ("bad: driver's limbs", "good: retarget"),
            [_over(character, _frames(made[name] / "src_pose.mp4")) for name in ("plain", "animate")],
        )
        _write(
            out / "animate-masks.png",
            ("bad: iterations=0, a rim stays", "good: dilated, 12x16 cells", "good: 1x1, the default"),
            [_frames(made[name] / "src_bg.mp4") for name in ("tight", "grid", "replace")],
        )


def _reference(path: Path) -> Path:
    """A drawn character whose limbs are not the driver's."""
    look = varied_look(3)
    _, poses = plan_clip(0.2, 10, 3, look)
    picture_HWC = next(render_frames(poses, size=(480, 640), look=look))
    # A broad figure: what retargeting has to bridge.
    broad_HWC = cv2.resize(picture_HWC, (640, 640))[:, 80:560]
    cv2.imwrite(str(path), broad_HWC[:, :, ::-1])
    return path


def _exported(place: Path, name: str, stages: dict[str, Any], video: Path, reference: Path) -> Path:
    recipe = {"timeline": {"fps": 30}, "stages": stages}
    run(video, store=place / name, recipe=recipe, reference=reference, engine="inline")
    options = {"mode": "replace" if "mask" in stages else "animate", "area": AREA}
    summary = export(place / name, "wan22", place / "out" / name, options=options)
    if summary.left_out:
        raise SystemExit(f"{name}: {summary.left_out}")
    return place / "out" / name / summary.written[0]


def _frames(path: Path) -> list[Picture]:
    with av.open(str(path)) as container:
        decoded = enumerate(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for number, frame in decoded if number in SHOWN]


def _over(pictures: Iterable[Picture], poses: Iterable[Picture]) -> list[Picture]:
    """Skeletons over dimmed pictures."""
    laid = []
    for picture, pose in zip(pictures, poses, strict=True):
        dimmed = cv2.resize(picture, pose.shape[1::-1]) * 0.5
        clean = np.where(
            pose.max(axis=2, keepdims=True) > 64, pose, np.uint8(0)
        )  # less what the codec blurred
        thick = cv2.dilate(clean, np.ones((3, 3), np.uint8))
        laid.append(np.where(thick.any(axis=2, keepdims=True), thick, dimmed).astype(np.uint8))
    return laid


def _write(path: Path, titles: tuple[str, ...], columns: list[list[Picture]]) -> None:
    """One row a shown frame, one column a title, as a PNG of 256 colours."""
    from PIL import Image

    strips = []
    for title, column in zip(titles, columns, strict=True):
        cells = [_cell(picture) for picture in column]
        head = np.full((STRIP, cells[0].shape[1], 3), PAPER, np.uint8)
        cv2.putText(head, title, (2, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
        strips.append(np.vstack([head, *cells]))
    sheet = Image.fromarray(np.hstack(strips)).quantize(256, method=Image.Quantize.MEDIANCUT)
    sheet.save(path, optimize=True)
    print(path, path.stat().st_size)


def _cell(picture: Picture) -> Picture:
    width = round(picture.shape[1] * HEIGHT / picture.shape[0])
    scaled = cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.pad(scaled, ((0, GAP), (0, GAP), (0, 0)), constant_values=PAPER[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
