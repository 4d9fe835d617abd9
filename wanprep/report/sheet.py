"""Contact sheets: what was found, drawn over the frames it was found in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from schemas import FaceCropsRecord, FaceRecord, FlowRecord, MaskRecord, SkeletonRecord
from wanprep.errors import MediaError, StoreError
from wanprep.media.draw import draw_box, draw_face_points, draw_outline, draw_skeleton, flow_to_rgb
from wanprep.media.geometry import Size, fit_short_side
from wanprep.media.video import read_windows
from wanprep.store.clip import StoredClip
from wanprep.store.store import Store

Picture = npt.NDArray[np.uint8]

_CELL_SHORT_SIDE = 270  # pixels of one picture's shorter side
_GAP = 6
_CAPTION = 26
_INK, _PAPER = (225, 225, 228), (24, 25, 28)
_MASK, _FACE, _BODY = (80, 220, 255), (255, 210, 80), (120, 255, 140)


def write_sheet(
    store: Store, clip: StoredClip, path: Path, *, rows: int = 6, start: float = 0.0, end: float | None = None
) -> None:
    """Writes a PNG: one row a frame, evenly spaced from `start` to `end` seconds, one column a kind of artifact.

    Raises:
        StoreError: the clip has no video, or its file is gone.
    """
    record = clip.record
    if (
        not record.frames
        or record.fps is None
        or record.video is None
        or record.width is None
        or record.height is None
    ):
        raise StoreError(f"clip {clip.id}: has no frames to draw ({record.why_not or 'it has no video'})")
    # The last frame has no flow to a next one: leave it out where there is another.
    final = max(0, record.frames - 2)
    first = min(round(start * record.fps), final)
    last = final if end is None else min(max(round(end * record.fps), first), final)
    wanted = sorted(set(np.linspace(first, last, rows).round().astype(int).tolist()))
    size = fit_short_side(record.width, record.height, _CELL_SHORT_SIDE)
    columns = _columns(clip, size)
    lines = []
    for index, frame in _frames(store, clip, wanted, size):
        try:
            cells = [_cell(frame, draw, index) for _, draw in columns]
            facts = _facts(clip, index)
        except (ValueError, TypeError, IndexError, ArithmeticError, OSError, cv2.error) as error:
            said = " ".join(str(error).split())
            raise StoreError(
                f"clip {clip.id}: an artifact does not fit the clip ({said}); see `wanprep verify`"
            ) from error
        lines.append(_with_caption(np.hstack(cells), f"frame {index}, {index / record.fps:.2f} s", facts))
    header = _header([title for title, _ in columns], size[0] + _GAP, f"{clip.id}   {record.frames} frames")
    picture = np.vstack([header, *lines])
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise StoreError(f"{path}: the picture could not be encoded")
    path.write_bytes(data.tobytes())


def _frames(store: Store, clip: StoredClip, wanted: list[int], size: Size) -> Iterator[tuple[int, Picture]]:
    media = store.media_records().get(clip.record.video or "")
    if media is None:
        raise StoreError(f"clip {clip.id}: the store does not know {clip.record.video}")
    remaining = list(wanted)
    try:
        for window in read_windows(clip.record, media):
            inside = [index for index in remaining if index < window.start + window.count]
            for index in inside:
                yield index, window.rgb_THWC(size)[index - window.start].copy()
            remaining = remaining[len(inside) :]
            if not remaining:
                return
    except MediaError as error:
        raise StoreError(f"clip {clip.id}: {clip.record.video} {error}") from error


Draw = Callable[[Picture, int], Picture]


def _columns(clip: StoredClip, size: Size) -> list[tuple[str, Draw]]:
    """The pictures of a row, for the artifacts the clip has."""
    found: list[tuple[str, Draw]] = [("source", lambda frame, index: frame)]
    skeleton, face, mask, flow = (clip.get(name) for name in ("skeleton", "face", "mask", "flow"))
    crops = clip.get("face_crops")
    if skeleton is not None:
        found.append(("skeleton, face points", lambda frame, index: _skeleton(frame, skeleton, index)))
    if mask is not None or face is not None:
        found.append(
            (
                "mask (blue), body, face, face crop (white)",
                lambda frame, index: _outlines(frame, mask, face, skeleton, crops, index),
            )
        )
    if crops is not None:
        found.append(("face crop (yellow: filled)", lambda frame, index: _crop(frame, crops, index)))
    if flow is not None:
        found.append(("flow to the next frame", lambda frame, index: _flow(frame, flow, index)))
    return found


def _skeleton(frame: Picture, record: SkeletonRecord, index: int) -> Picture:
    height, width = frame.shape[:2]
    points = np.array(record.keypoints_TKC[index : index + 1])[0]
    points[:, :2] *= (width / record.width, height / record.height)
    dimmed = (frame * 0.45).astype(np.uint8)
    return draw_face_points(draw_skeleton(dimmed, points), points)


def _outlines(
    frame: Picture,
    mask: MaskRecord | None,
    face: FaceRecord | None,
    skeleton: SkeletonRecord | None,
    crops: FaceCropsRecord | None,
    index: int,
) -> Picture:
    height, width = frame.shape[:2]
    if mask is not None:
        inside = mask.masks_THW(index, index + 1)[0].astype(np.uint8)
        scaled = cv2.resize(inside, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
        frame[~scaled] = (frame[~scaled] * 0.45).astype(np.uint8)
        draw_outline(frame, scaled, _MASK)
    for record, boxes, colour in (
        (skeleton, "boxes_TC", _BODY),
        (face, "boxes_TC", _FACE),
        (crops or face, "crop_boxes_TC" if crops is None else "boxes_TC", (255, 255, 255)),
    ):
        if record is not None:
            box = np.array(getattr(record, boxes)[index : index + 1], dtype=np.float32)[0]
            if box.any():
                scale = np.array([width / record.width, height / record.height] * 2, dtype=np.float32)
                draw_box(frame, box * scale, colour)
    return frame


def _crop(frame: Picture, record: FaceCropsRecord, index: int) -> Picture:
    """The face crop as large as the cell has room for, in the cell's middle."""
    height, width = frame.shape[:2]
    side = min(width, height)
    crop = cv2.resize(record.crops_THWC(index, index + 1)[0], (side, side), interpolation=cv2.INTER_AREA)
    cell = np.full_like(frame, _PAPER)
    top, left = (height - side) // 2, (width - side) // 2
    cell[top : top + side, left : left + side] = crop
    if bool(record.filled_T[index : index + 1][0]):
        draw_box(cell, np.array([left, top, left + side - 1, top + side - 1], np.float32), _FACE)
    return cell


def _flow(frame: Picture, record: FlowRecord, index: int) -> Picture:
    height, width = frame.shape[:2]
    if index >= record.pairs:
        return np.full_like(frame, _PAPER)
    colours = flow_to_rgb(record.flow_THWC(index, index + 1)[0], max(2.0, record.width / 120))
    return np.asarray(cv2.resize(colours, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _facts(clip: StoredClip, index: int) -> str:
    """Numbers of this frame, one line."""
    facts: list[str] = []
    face, flow, audio = (clip.get(name) for name in ("face", "flow", "audio"))
    if face is not None:
        if bool(face.valid_T[index : index + 1][0]):
            yaw, pitch, roll = np.asarray(face.head_pose_TC[index : index + 1])[0]
            facts.append(f"yaw {yaw:+.0f} pitch {pitch:+.0f} roll {roll:+.0f}")
            facts.append(f"mouth {_at(face.mouth_openness_T, index):.2f}")
        else:
            facts.append("no face")
    crops = clip.get("face_crops")
    if crops is not None:
        facts.append(f"crop sharpness {_at(crops.sharpness_T, index):.0f}")
    if flow is not None and index < flow.pairs:
        facts.append(f"motion {_at(flow.motion_T, index):.2f} px")
    if audio is not None and index < len(audio.loudness_T):
        facts.append(f"sound {_at(audio.loudness_T, index):.0f} dB")
    return "   ".join(facts)


def _at(values: Any, index: int) -> float:
    return float(values[index : index + 1][0])


def _cell(frame: Picture, draw: Draw, index: int) -> Picture:
    picture = draw(frame.copy(), index)
    return np.hstack([picture, np.full((picture.shape[0], _GAP, 3), _PAPER, np.uint8)])


def _with_caption(row: Picture, left: str, right: str) -> Picture:
    strip = np.full((_CAPTION, row.shape[1], 3), _PAPER, np.uint8)
    _write(strip, f"{left}     {right}", 6)
    return np.vstack([row, strip])


def _header(titles: list[str], step: int, about: str) -> Picture:
    strip = np.full((2 * _CAPTION, step * len(titles), 3), _PAPER, np.uint8)
    _write(strip[:_CAPTION], about, 6)
    for number, title in enumerate(titles):
        _write(strip[_CAPTION:], title, number * step + 6)
    return strip


def _write(strip: Picture, text: str, x: int) -> None:
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(strip, plain, (x, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
