"""Clips that people complain about, from a file to a store: each ends with an outcome, and none crashes.

People are painted; the networks are the tiny pair, which finds what is painted.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.media import turn
from rich.console import Console

import wanprep
from stages.person.vitpose.tiny import make_detector, make_pose
from wanprep.report.tables import print_summary
from wanprep.status import status
from wanprep.store import Store
from wanprep.summary import RunSummary

WIDTH, HEIGHT, FPS = 320, 240, 10
RED, GREEN = (255, 0, 0), (0, 255, 0)
Box = tuple[int, int, int, int]
Paint = Callable[[int], list[tuple[tuple[int, int, int], Box]]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name, make in (("yolov10m", make_detector), ("vitpose-h-wholebody", make_pose)):
        (folder / name).mkdir()
        make(folder / name, 0)
    return folder


def write(
    path: Path,
    frames: int,
    paint: Paint,
    *,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    times: Sequence[float] = (),
) -> Path:
    """A video of painted people; `times` (seconds) make its rate vary."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "10"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv444p"
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(frames):
            frame_HWC = np.full((size[1], size[0], 3), 40, np.uint8)
            for colour, (x0, y0, x1, y1) in paint(index):
                frame_HWC[y0:y1, x0:x1] = colour
            frame = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")
            frame.pts, frame.time_base = (
                round(1000 * (times[index] if times else index / FPS)),
                Fraction(1, 1000),
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


Prepare = Callable[..., tuple[RunSummary, Any]]


@pytest.fixture
def prepare(models: Path, tmp_path: Path) -> Prepare:
    """Runs skeleton, face and mask on a file: the summary, and the clip as a reader sees it."""

    def run(video: Path, *overrides: str, timeline: dict[str, Any] | None = None) -> tuple[RunSummary, Any]:
        recipe = {
            "timeline": timeline or {},
            "shared": {"estimator": {"backend": "vitpose", "device": "cpu", "unverified": False}},
            "stages": {"skeleton": {}, "face": {}, "mask": {"short_side": 60}},
        }
        store = tmp_path / "store"
        summary = wanprep.run(
            video,
            store=store,
            recipe=recipe,
            overrides=overrides,
            models=models,
            engine="inline",
            log_file=tmp_path / "log",
        )
        assert summary.failed == 0
        (clip,) = wanprep.open(str(store)).clips()
        for stage in ("skeleton", "face", "mask"):
            record = clip.get(stage)
            for column in () if record is None else record.tensor_columns():
                value = getattr(record, column)
                assert value is None or np.isfinite(np.asarray(value, np.float64)).all(), (stage, column)
        return summary, clip

    return run


def walking(frame: int) -> list[tuple[tuple[int, int, int], Box]]:
    return [(RED, (40 + 4 * frame, 30, 120 + 4 * frame, 220))]


def test_nobody(prepare: Prepare, tmp_path: Path) -> None:
    summary, clip = prepare(write(tmp_path / "clip.mp4", 8, lambda frame: []))
    assert {name: stage.skipped for name, stage in summary.stages.items()} == {
        "skeleton": 1,
        "face": 1,
        "mask": 1,
    }
    assert clip.get("skeleton") is None
    reasons = status(Store.open(str(tmp_path / "store"))).reasons
    assert reasons["skeleton: no person found"] == reasons["face: no face found"] == 1


def test_the_person_leaves_and_returns_elsewhere(prepare: Prepare, tmp_path: Path) -> None:
    def paint(frame: int) -> list[tuple[tuple[int, int, int], Box]]:
        if frame < 6:
            return [(RED, (100 - 8 * frame, 30, 180 - 8 * frame, 220))]
        return [(RED, (230, 30, 310, 220))] if frame >= 26 else []

    video = write(tmp_path / "clip.mp4", 32, paint)
    _, clip = prepare(video)
    skeleton, face = clip.skeleton, clip.face
    assert len(skeleton.tracks) == 1  # nobody else was ever there
    assert skeleton.body_share == face.face_share == pytest.approx(12 / 32)
    assert skeleton.longest_gap == face.longest_gap == 2.0
    assert not np.asarray(skeleton.filled_T).any() and not np.asarray(face.filled_T).any()
    assert not np.asarray(skeleton.keypoints_smooth_TKC)[6:26].any()
    assert skeleton.warnings == ["the person is not seen for 2.0 s on end: left empty there"]
    _, clip = prepare(video, "skeleton.fill_gaps=2", "face.fill_gaps=2")
    filled_T = np.asarray(clip.skeleton.filled_T)
    assert np.flatnonzero(filled_T).tolist() == list(range(6, 26))
    nose_T = np.asarray(clip.skeleton.keypoints_smooth_TKC)[:, 0, 0]
    assert (np.diff(nose_T[6:26]) > 0).all()
    summary, clip = prepare(video, "skeleton.long_gaps=skip", "face.long_gaps=skip")
    assert summary.stages["skeleton"].skipped == summary.stages["face"].skipped == 1
    assert clip.get("skeleton") is None
    reasons = status(Store.open(str(tmp_path / "store"))).reasons
    assert reasons["skeleton: the person is not seen for longer than fill_gaps=1 seconds"] == 1


def test_two_people_side_by_side(prepare: Prepare, tmp_path: Path) -> None:
    def paint(frame: int) -> list[tuple[tuple[int, int, int], Box]]:
        sway = 6 * (frame % 3)
        return [(RED, (30 + sway, 40, 110 + sway, 220)), (GREEN, (210 - sway, 50, 270 - sway, 210))]

    video = write(tmp_path / "clip.mp4", 9, paint)
    summary, clip = prepare(video)
    skeleton = clip.skeleton
    assert [(row.clip_id, row.stage, row.warning) for row in summary.warnings] == [
        (clip.id, "skeleton", skeleton.warnings[0])
    ]
    said = io.StringIO()
    print_summary(Console(file=said, width=400), summary)
    assert f"1 warning about what is done:\n  {clip.id} skeleton: up to 2 people at once" in said.getvalue()
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    (event,) = [event for event in events if event["event"] == "warning"]
    assert (event["level"], event["clip"], event["cause"]) == ("WARNING", clip.id, skeleton.warnings[0])
    assert (skeleton.people_max, len(skeleton.tracks)) == (2, 2)
    assert skeleton.warnings[0].startswith("up to 2 people at once")
    assert (np.asarray(skeleton.boxes_TC)[:, 2] < 160).all()
    assert (np.asarray(clip.face.boxes_TC)[:, 2] < 160).all()
    for subject in ("2", "[0.75, 0.5]", "[0.6, 0.2, 0.9, 0.9]"):
        _, other = prepare(video, f"shared.estimator.subject={subject}")
        assert (np.asarray(other.skeleton.boxes_TC)[:, 0] > 160).all()
        assert (np.asarray(other.face.boxes_TC)[:, 0] > 160).all()
        columns = np.flatnonzero(other.mask.masks_THW().any((0, 1)))
        assert columns[0] > 35  # of 80


def test_a_passer_by_walks_through_in_front(prepare: Prepare, tmp_path: Path) -> None:
    def paint(frame: int) -> list[tuple[tuple[int, int, int], Box]]:
        x = 300 - 20 * frame
        passing = (GREEN, (max(x, 0), 20, max(min(x + 90, WIDTH), 0), 230))
        subject = (RED, (100, 40, 180, 220))
        if not 0 <= x <= 250:
            return [subject]
        # Whoever is mostly covered is not found: the detector sees no rest of the subject.
        return [passing] if abs(x + 45 - 140) < 90 else [subject, passing]

    _, clip = prepare(write(tmp_path / "clip.mp4", 36, paint))
    skeleton = clip.skeleton
    seen_T = np.asarray(skeleton.status_T) > 0
    assert 0 < (~seen_T).sum() < 16
    boxes_TC = np.asarray(skeleton.boxes_TC)[seen_T]
    np.testing.assert_allclose(boxes_TC, np.tile([100, 40, 180, 220], (len(boxes_TC), 1)), atol=3)
    nose_TC = np.asarray(skeleton.keypoints_smooth_TKC)[:, 0, :2]
    assert np.ptp(nose_TC, axis=0).max() < 4  # hidden frames are filled where the subject stood
    assert (np.asarray(skeleton.filled_T)[~seen_T] > 0).all()


@pytest.mark.parametrize("frames", [1, 5])
def test_very_short(prepare: Prepare, tmp_path: Path, frames: int) -> None:
    summary, clip = prepare(write(tmp_path / "clip.mp4", frames, walking))
    assert {name: stage.done for name, stage in summary.stages.items()} == {
        "skeleton": 1,
        "face": 1,
        "mask": 1,
    }
    assert np.asarray(clip.skeleton.keypoints_smooth_TKC).shape == (frames, 133, 3)
    assert clip.skeleton.body_share == clip.face.face_share == 1
    assert clip.skeleton.longest_gap == 0


@pytest.mark.parametrize("degrees", [90, 270])
def test_portrait_phone_video(prepare: Prepare, tmp_path: Path, degrees: int) -> None:
    """The file's pictures lie on their side; people stand in what is shown."""

    def paint(frame: int) -> list[tuple[tuple[int, int, int], Box]]:
        # As stored, a standing person 90 wide and 200 tall, on the left and low in the upright picture.
        return [(RED, (100, 130, 300, 220) if degrees == 90 else (20, 20, 220, 110))]

    _, clip = prepare(turn(write(tmp_path / "clip.mp4", 6, paint), degrees))
    skeleton = clip.skeleton
    assert (skeleton.width, skeleton.height) == (HEIGHT, WIDTH)
    box_C = np.asarray(skeleton.boxes_TC).mean(0)
    np.testing.assert_allclose(box_C, [20, 100, 110, 300], atol=3)
    keypoints_KC = np.asarray(skeleton.keypoints_TKC)[0]
    assert keypoints_KC[0, 1] < keypoints_KC[11, 1] < keypoints_KC[15, 1]  # nose, hip, ankle: downwards
    assert (clip.mask.width, clip.mask.height) == (60, 80)


def test_variable_frame_rate(prepare: Prepare, tmp_path: Path) -> None:
    """The first second has 10 pictures, the second one 5: on a timeline of 10 a second nobody speeds up."""
    times = [*(index / 10 for index in range(10)), *(1 + index / 5 for index in range(6))]

    def paint(frame: int) -> list[tuple[tuple[int, int, int], Box]]:
        left = round(20 + 80 * times[frame])
        return [(RED, (left, 30, left + 80, 220))]

    _, clip = prepare(write(tmp_path / "clip.mp4", len(times), paint, times=times), timeline={"fps": 10})
    skeleton = clip.skeleton
    assert skeleton.body_share == 1
    left_T = np.asarray(skeleton.boxes_TC)[:, 0]
    at_T = np.arange(len(left_T)) / 10
    assert len(left_T) >= 20
    shown_T = np.where(at_T < 1, at_T, 1 + np.floor((at_T - 1 + 1e-6) * 5) / 5)
    np.testing.assert_allclose(left_T[:20], (20 + 80 * shown_T)[:20], atol=3)
