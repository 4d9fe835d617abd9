"""Quality numbers mean what their names say, with and without the stages they look at."""

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from helpers.pictures import moved, texture
from numpy.typing import NDArray

from schemas import ClipRecord, FaceRecord, QualityRecord, Record, SkeletonRecord
from stages.quality import Quality, QualityConfig
from stages.quality.keypoints import Jitter, boxes_around
from stages.quality.picture import box_sharpness
from wanprep.media.wan_body import FACE, LEFT_HAND
from wanprep.media.window import Window
from wanprep.spool import ArraySpool
from wanprep.stage import ClipContext

Gray = NDArray[np.uint8]
WIDTH, HEIGHT, FPS = 320, 240, 25.0
MEASURED = ("frames", "brightness", "contrast", "sharpness", "black_border")


def grain(seed: int = 0) -> Gray:
    return np.random.default_rng(seed).integers(40, 216, (HEIGHT, WIDTH), dtype=np.uint8)


def run(
    folder: Path, pictures: list[Gray], inputs: dict[str, Record] | None = None, split: int = 4, **config: Any
) -> QualityRecord:
    stage = Quality(QualityConfig(**config))
    stage.setup()
    clip = ClipRecord(clip_id="clip", recipe="recipe", fps=FPS, frames=len(pictures))
    fold = stage.begin(ClipContext(clip, {}, folder), {})
    height, width = pictures[0].shape
    for start in range(0, len(pictures), split):
        frames = [
            av.VideoFrame.from_ndarray(picture, format="gray") for picture in pictures[start : start + split]
        ]
        fold.add(Window(start, frames, width=width, height=height))
    record = fold.finish(inputs or {})
    assert isinstance(record, QualityRecord)
    return record


def skeleton(keypoints_TKC: Any, boxes_TC: Any = None, scale: int = 1) -> SkeletonRecord:
    frames = len(keypoints_TKC)
    if boxes_TC is None:
        boxes_TC = np.tile(np.array([0, 0, WIDTH, HEIGHT], np.float32) * scale, (frames, 1))
    return SkeletonRecord(
        backend="test",
        frames=frames,
        width=WIDTH * scale,
        height=HEIGHT * scale,
        keypoints_TKC=keypoints_TKC,
        keypoints_smooth_TKC=keypoints_TKC,
        boxes_TC=boxes_TC,
        status_T=np.ones(frames, np.uint8),
        subject_track=0,
        tracks=[],
        people_max=1,
        body_share=0.9,
        face_share=0.8,
        left_hand_share=0.7,
        right_hand_share=0.6,
    )


def face(boxes_TC: NDArray[np.float32], valid_T: NDArray[np.bool_]) -> FaceRecord:
    frames = len(boxes_TC)
    zeros = {
        name: np.zeros((frames, 2), np.float32) for name in ("eye_openness_TC", "gaze_TC", "brow_height_TC")
    }
    return FaceRecord(
        backend="test",
        frames=frames,
        width=WIDTH,
        height=HEIGHT,
        valid_T=valid_T,
        score_T=np.ones(frames, np.float32),
        boxes_TC=boxes_TC,
        points_TKC=np.zeros((frames, 68, 2), np.float32),
        mesh_TKC=None,
        head_pose_TC=np.zeros((frames, 3), np.float32),
        blink_T=np.zeros(frames, np.bool_),
        mouth_openness_T=np.zeros(frames, np.float32),
        crop_boxes_TC=np.zeros((frames, 4), np.int32),
        face_share=float(valid_T.mean()),
        **zeros,
    )


def absent(frames: int) -> NDArray[np.float32]:
    return np.zeros((frames, 133, 3), np.float32)


def test_brightness_and_contrast(tmp_path: Path) -> None:
    half = np.zeros((HEIGHT, WIDTH), np.uint8)
    half[:, WIDTH // 2 :] = 255
    record = run(tmp_path, [half, np.full_like(half, 51)])
    assert np.asarray(record.brightness_T) == pytest.approx([0.5, 0.2], abs=1e-4)
    assert np.asarray(record.contrast_T) == pytest.approx([0.5, 0.0], abs=1e-4)
    assert record.brightness == pytest.approx(0.35, abs=1e-4)
    assert record.contrast == pytest.approx(0.25, abs=1e-4)
    assert record.frames == 2


def test_sharpness_is_the_mean_squared_laplacian(tmp_path: Path) -> None:
    picture = grain()
    padded = np.pad(picture.astype(np.float64), 1, mode="reflect")
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    expected = np.mean((around - 4 * padded[1:-1, 1:-1]) ** 2)
    record = run(tmp_path, [picture, cv2.GaussianBlur(picture, (0, 0), 2), picture])
    assert np.asarray(record.sharpness_T)[0] == pytest.approx(expected, rel=1e-5)
    assert np.asarray(record.sharpness_T)[1] < 0.02 * expected
    assert record.sharpness == pytest.approx(expected, rel=1e-5)  # the median


def test_borders_are_black_in_every_frame(tmp_path: Path) -> None:
    pictures = [grain(seed) for seed in range(3)]
    for picture in pictures:
        picture[:24] = picture[-36:] = np.random.default_rng(1).integers(0, 12, WIDTH)  # coding noise
        picture[:, -16:] = 3
    dark = np.zeros((HEIGHT, WIDTH), np.uint8)
    assert run(tmp_path, [dark, *pictures]).black_border == pytest.approx([0, 0.1, 0.05, 0.15])
    assert run(tmp_path, [dark, dark]).black_border == [1, 1, 1, 1]
    pictures[1][:30, :-16] = 200  # a title in one frame
    assert run(tmp_path, pictures).black_border == pytest.approx([0, 0, 0.05, 0.15])


def test_a_sharp_face_and_blurred_hands_are_told_apart(tmp_path: Path) -> None:
    picture = cv2.GaussianBlur(grain(), (0, 0), 3)
    picture[48:96, 96:160] = grain()[48:96, 96:160]
    points_TKC = absent(4)
    points_TKC[:, FACE, 0] = np.linspace(98, 158, 68) * 4
    points_TKC[:, FACE, 1] = np.linspace(50, 94, 68) * 4
    points_TKC[:, LEFT_HAND, 0] = np.linspace(200, 240, 21) * 4
    points_TKC[:, LEFT_HAND, 1] = np.linspace(150, 200, 21) * 4
    points_TKC[:, FACE, 2] = points_TKC[:, LEFT_HAND, 2] = 0.9
    record = run(tmp_path, [picture] * 4, {"skeleton": skeleton(points_TKC, scale=4)})
    inside = float(np.mean(cv2.Laplacian(picture, cv2.CV_64F)[64:80, 112:144] ** 2))
    assert record.face_sharpness == pytest.approx(inside, rel=0.2)
    assert record.hand_sharpness is not None and record.face_sharpness is not None
    assert record.hand_sharpness < 0.05 * record.face_sharpness
    points_TKC[:, LEFT_HAND, 2] = 0.3
    unsure = run(tmp_path, [picture] * 4, {"skeleton": skeleton(points_TKC, scale=4)})
    assert unsure.hand_sharpness is None
    assert unsure.face_sharpness == record.face_sharpness


def test_the_face_record_has_the_better_box(tmp_path: Path) -> None:
    picture = cv2.GaussianBlur(grain(), (0, 0), 3)
    picture[64:128, 64:128] = grain()[64:128, 64:128]
    sharp, soft = [64, 64, 128, 128], [160, 64, 224, 128]
    boxes_TC = np.array([sharp, sharp, soft, soft, soft], np.float32)
    valid_T = np.array([True, True, True, False, False])
    record = run(tmp_path, [picture] * 5, {"face": face(boxes_TC, valid_T)})
    assert record.face_sharpness is not None and record.face_sharpness > 1000
    assert record.face_share == pytest.approx(0.6)
    assert record.hand_sharpness is None and record.body_share is None


def test_box_sharpness_weighs_cells_by_their_share() -> None:
    cells_THW = np.sqrt(np.array([[[1.0, 3.0], [5.0, 7.0]]]))
    boxes = {(0, 0, 2, 2): 4.0, (0, 0, 1, 1): 1.0, (0.5, 0, 1.5, 1): 2.0, (1.5, 0.5, 9, 1.5): 5.0}
    for box, expected in boxes.items():
        assert box_sharpness(cells_THW, np.array([box], np.float64))[0] == pytest.approx(expected)
    for box in ((1, 1, 1, 1), (5, 5, 6, 6), (np.nan,) * 4):
        assert np.isnan(box_sharpness(cells_THW, np.array([box], np.float64))[0])


def test_a_moving_camera_is_no_motion(tmp_path: Path) -> None:
    picture = texture(3, WIDTH, HEIGHT)
    record = run(tmp_path, [moved(picture, x=2.0 * index) for index in range(6)])
    assert record.camera_motion == pytest.approx(2.0 / WIDTH * FPS * 100, rel=0.1)
    assert record.motion is not None and record.motion < 0.25 * record.camera_motion


def test_what_moves_before_a_still_camera_is_motion(tmp_path: Path) -> None:
    """In percent of the width a second, averaged over the picture."""
    room, thing = texture(4, WIDTH, HEIGHT), texture(5, WIDTH, HEIGHT)[80:200, 100:220]
    pictures = []
    for index in range(6):
        picture = room.copy()
        picture[80:200, 90 + 4 * index : 210 + 4 * index] = thing
        pictures.append(picture)
    record = run(tmp_path, pictures)
    share = 120 * 120 / (WIDTH * HEIGHT)
    assert record.motion == pytest.approx(4 / WIDTH * FPS * 100 * share, rel=0.35)
    assert record.camera_motion is not None and record.camera_motion < 0.1 * 4 / WIDTH * FPS * 100


def test_a_clip_of_cuts_has_no_motion(tmp_path: Path) -> None:
    record = run(tmp_path, [texture(seed, WIDTH, HEIGHT) for seed in (6, 7, 8)])
    assert record.motion is None and record.camera_motion is None


def test_a_still_clip_has_no_motion_and_a_single_frame_has_no_number(tmp_path: Path) -> None:
    still = run(tmp_path, [texture(9, WIDTH, HEIGHT)] * 4)
    assert (still.motion, still.camera_motion) == (0.0, 0.0)
    single = run(tmp_path, [texture(9, WIDTH, HEIGHT)])
    assert single.motion is None and single.camera_motion is None


def test_jitter_is_the_second_difference_relative_to_the_size(tmp_path: Path) -> None:
    frames = 8
    points_TKC = absent(frames)
    points_TKC[:, :17, 0] = 100 + 5.0 * np.arange(frames)[:, None]  # even motion is no jitter
    points_TKC[:, :17, 1] = 50
    points_TKC[:, :17, 2] = 1
    boxes_TC = np.tile(np.array([0, 20, 80, 220], np.float32), (frames, 1))
    even = run(tmp_path, [grain()] * frames, {"skeleton": skeleton(points_TKC, boxes_TC)})
    assert even.body_jitter == pytest.approx(0, abs=1e-4)
    assert even.face_jitter is None and even.hand_jitter is None
    points_TKC[:, :17, 1] += np.where(np.arange(frames) % 2, 0.5, -0.5)[:, None]
    shaking = run(tmp_path, [grain()] * frames, {"skeleton": skeleton(points_TKC, boxes_TC)})
    # One pixel up and down: a second difference of two pixels on a body of 200.
    assert shaking.body_jitter == pytest.approx(1.0, rel=1e-3)
    assert (shaking.body_share, shaking.left_hand_share) == (0.9, 0.7)


def test_gaps_and_cuts_are_no_jitter() -> None:
    points_TKC = np.ones((7, 1, 3), np.float32)
    points_TKC[3] = 0  # absent, at the origin
    points_TKC[4:, 0, 0] = 80  # back at another place
    size_T, no_cut = np.full(7, 100.0), np.zeros(6, np.bool_)
    jitter = Jitter(0.5)
    jitter.add(points_TKC, size_T, no_cut)
    assert jitter.percent() == pytest.approx(0)
    points_TKC[3] = 1
    jumping, cut = Jitter(0.5), Jitter(0.5)
    jumping.add(points_TKC, size_T, no_cut)
    cut.add(points_TKC, size_T, np.arange(6) == 3)
    assert jumping.percent() == pytest.approx(100 * np.sqrt(2 * 79**2 / 5) / 100)
    assert cut.percent() == pytest.approx(0)


def test_jitter_does_not_depend_on_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    points_TKC = random.normal(100, 5, (23, 133, 3)).astype(np.float32)
    points_TKC[:, :, 2] = random.random((23, 133)) * 1.5
    inputs: dict[str, Record] = {"skeleton": skeleton(points_TKC)}
    # Cuts after the frames 7 and 15.
    pictures = [
        texture(seed, WIDTH, HEIGHT) for seed, count in ((1, 8), (2, 8), (3, 7)) for _ in range(count)
    ]
    whole = run(tmp_path, pictures, inputs)
    monkeypatch.setattr("stages.quality.stage._CHUNK", 5)
    parts = run(tmp_path, pictures, inputs, split=7)
    for name in ("body_jitter", "face_jitter", "hand_jitter", "face_sharpness", "hand_sharpness"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name))
        assert getattr(parts, name) > 0


def test_records_may_be_spools(tmp_path: Path) -> None:
    points_TKC = np.random.default_rng(6).normal(100, 5, (9, 133, 3)).astype(np.float32)
    points_TKC[:, :, 2] = 1
    spool = ArraySpool(np.float32, (133, 3), tmp_path)
    spool.append(points_TKC)
    held = run(tmp_path, [grain()] * 9, {"skeleton": skeleton(points_TKC)})
    spooled = run(tmp_path, [grain()] * 9, {"skeleton": skeleton(spool.tensor())})
    for name in ("body_jitter", "hand_jitter", "face_sharpness", "hand_sharpness"):
        assert getattr(held, name) == getattr(spooled, name)


def test_alone_it_measures_pictures_only(tmp_path: Path) -> None:
    record = run(tmp_path, [grain()])
    for name in record.SCHEMA.names:
        if name not in MEASURED and not name.endswith("_T"):
            assert getattr(record, name) is None


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (15, 17), (641, 359)])
def test_pictures_of_any_shape_are_measured(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    picture = np.random.default_rng(7).integers(40, 216, (height, width), dtype=np.uint8)
    record = run(tmp_path, [picture, picture])
    assert record.brightness == pytest.approx(picture.mean() / 255, abs=1e-3)


def test_boxes_around_need_a_sure_point() -> None:
    points_TKC = np.array([[[1, 2, 0.9], [5, 8, 0.6], [50, 50, 0.1]], [[1, 1, 0.2]] * 3], np.float32)
    boxes_TC = boxes_around(points_TKC, 0.5)
    assert boxes_TC[0].tolist() == [1, 2, 5, 8]
    assert np.isnan(boxes_TC[1]).all()
