"""`face_crops` in a run: after `face`, into a store, back out of it and onto a contact sheet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from helpers.media import write_video
from numpy.typing import NDArray
from PIL import Image

import wanprep
from schemas import FaceCropsRecord, FaceRecord, Record
from wanprep.animate.face_pixels import face_pixels_CTHW, segment_face_pixels
from wanprep.errors import WanprepError
from wanprep.media.video import read_windows
from wanprep.media.window import Window
from wanprep.report.sheet import write_sheet
from wanprep.stage import ClipContext, FrameStage, Media, StageConfig

FRAMES, WIDTH, HEIGHT = 8, 96, 64
UNSEEN = (3, 4)
_YELLOW = (255, 210, 80)
_HEADER = 52  # pixels of a sheet's two lines at the top


class SeenFace(FrameStage[StageConfig]):
    """A `face` that is at a known place, but for two frames."""

    name: ClassVar[str] = "face"
    record: ClassVar[type[Record]] = FaceRecord
    Config: ClassVar[type[StageConfig]] = StageConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO})

    class _Fold:
        def __init__(self) -> None:
            self.frames = 0

        def add(self, window: Window) -> None:
            self.frames += len(window)

        def finish(self, inputs: Mapping[str, Record]) -> FaceRecord:
            valid_T = np.ones(self.frames, bool)
            valid_T[list(UNSEEN)] = False
            zeros_TC = np.zeros((self.frames, 2), np.float32)
            corners_KC = np.zeros((68, 2), np.float32)
            corners_KC[1] = 20, 24
            return FaceRecord(
                backend="test",
                frames=self.frames,
                width=WIDTH,
                height=HEIGHT,
                valid_T=valid_T,
                score_T=valid_T.astype(np.float32),
                boxes_TC=np.zeros((self.frames, 4), np.float32),
                points_TKC=np.stack(
                    [corners_KC + np.array([30 + 2 * frame, 20]) for frame in range(self.frames)]
                ),
                mesh_TKC=None,
                head_pose_TC=np.zeros((self.frames, 3), np.float32),
                eye_openness_TC=zeros_TC,
                blink_T=np.zeros(self.frames, bool),
                mouth_openness_T=np.zeros(self.frames, np.float32),
                gaze_TC=zeros_TC,
                brow_height_TC=zeros_TC,
                crop_boxes_TC=np.zeros((self.frames, 4), np.int32),
                face_share=float(valid_T.mean()),
            )

    def begin(self, context: ClipContext, inputs: Mapping[str, Record]) -> SeenFace._Fold:
        return self._Fold()


@pytest.fixture
def made(tmp_path: Path, add_stages: Callable[..., None]) -> Callable[..., Any]:
    add_stages(SeenFace)
    video = write_video(tmp_path / "clip.mp4", FRAMES, size=(WIDTH, HEIGHT))

    def run(**config: Any) -> Any:
        recipe = {"stages": {"face": {}, "face_crops": {"side": 128, **config}}}
        return wanprep.run(video, store=tmp_path / "store", recipe=recipe, engine="inline", workers=1)

    return run


def test_crops_come_back_from_the_store_as_they_were_cut(tmp_path: Path, made: Callable[..., Any]) -> None:
    made(sigma=0)
    store = wanprep.open(tmp_path / "store")
    clip = next(iter(store.clips()))
    record = clip.face_crops
    assert isinstance(record, FaceCropsRecord)
    assert np.flatnonzero(record.filled_T).tolist() == list(UNSEEN)
    media = store.media_records()[clip.record.video]
    frames_THWC: NDArray[np.uint8] = np.concatenate(
        [window.rgb_THWC() for window in read_windows(clip.record, media)]
    )
    for frame in range(FRAMES):
        x0, y0 = np.floor(record.boxes_TC[frame, :2]).astype(int)
        x1, y1 = np.ceil(record.boxes_TC[frame, 2:]).astype(int)
        np.testing.assert_array_equal(record.stored_HWC(frame), frames_THWC[frame, y0:y1, x0:x1])
    left_T = record.boxes_TC[:, 0]
    np.testing.assert_allclose(np.diff(left_T), 2, atol=1e-3)  # the two unseen frames, too

    pixels_CTHW = segment_face_pixels(record, 0, length=13)
    assert pixels_CTHW.shape == (3, 13, 128, 128)
    np.testing.assert_array_equal(pixels_CTHW[:, :FRAMES], face_pixels_CTHW(record.crops_THWC()))
    np.testing.assert_array_equal(pixels_CTHW[:, FRAMES], pixels_CTHW[:, FRAMES - 2])


def test_another_codec_makes_only_the_crops_again(made: Callable[..., Any]) -> None:
    assert {stage: done.done for stage, done in made().stages.items()} == {"face": 1, "face_crops": 1}
    assert {stage: done.done for stage, done in made(codec="jpeg").stages.items()} == {
        "face": 0,
        "face_crops": 1,
    }


def test_official_fails_this_clip_with_its_cause(tmp_path: Path, made: Callable[..., Any]) -> None:
    made(compat="official")
    clip = next(iter(wanprep.open(tmp_path / "store").clips()))
    with pytest.raises(WanprepError, match="face_crops failed: frame 3 has no face: the official"):
        _ = clip.face_crops


def test_the_sheet_shows_the_crops(tmp_path: Path, made: Callable[..., Any]) -> None:
    made()
    store = wanprep.open(tmp_path / "store")
    clip = next(iter(store.clips()))
    write_sheet(store, clip, tmp_path / "sheet.png", rows=FRAMES)
    sheet_HWC = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    yellow_HW = (np.abs(sheet_HWC.astype(int) - _YELLOW) < 60).all(axis=2)
    # One row a frame, of a picture and its caption under it, and two lines of header; the last frame has none.
    step = (sheet_HWC.shape[0] - _HEADER) / (FRAMES - 1)
    framed = np.flatnonzero(yellow_HW.sum(axis=1) > HEIGHT // 2)
    assert {int((row - _HEADER) / step) for row in framed} == set(UNSEEN)
