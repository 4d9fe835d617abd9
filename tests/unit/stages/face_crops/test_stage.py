"""The crops that `face_crops` keeps: where they are cut, that nothing is lost, and what becomes of gaps."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from helpers.pictures import texture
from numpy.typing import NDArray

from schemas import ClipRecord, FaceCropsRecord, FaceRecord
from stages.face_crops import FaceCrops, FaceCropsConfig
from wanprep.animate.compat import OfficialFailure
from wanprep.animate.face_crop import crop_face, face_box
from wanprep.animate.resize import resize_by_area
from wanprep.media.window import Window
from wanprep.stage import ClipContext, Skipped

WIDTH, HEIGHT, FPS = 320, 240, 10.0
SIZE = 128
Pictures = NDArray[np.uint8]
GOLDEN = Path(__file__).parents[3] / "data" / "golden" / "animate" / "preprocess_e2e.npz"


def pictures(frames: int, width: int = WIDTH, height: int = HEIGHT) -> Pictures:
    return np.stack(
        [
            np.stack([cv2.resize(texture(3 * t + c), (width, height)) for c in range(3)], axis=-1)
            for t in range(frames)
        ]
    )


def points(x: float, y: float, wide: float = 40, high: float = 50) -> NDArray[np.float32]:
    """68 points whose box has its upper left corner at x, y."""
    inside_KC = np.random.default_rng(0).random((68, 2))
    inside_KC[:2] = (0, 0), (1, 1)
    return (inside_KC * (wide, high) + (x, y)).astype(np.float32)


def face(
    points_TKC: NDArray[Any], valid_T: Iterable[bool], size: tuple[int, int] = (WIDTH, HEIGHT)
) -> FaceRecord:
    frames = len(points_TKC)
    valid = np.array(list(valid_T), bool)
    return FaceRecord(
        backend="test",
        frames=frames,
        width=size[0],
        height=size[1],
        valid_T=valid,
        score_T=valid.astype(np.float32),
        boxes_TC=np.zeros((frames, 4), np.float32),
        points_TKC=points_TKC,
        mesh_TKC=None,
        head_pose_TC=np.zeros((frames, 3), np.float32),
        eye_openness_TC=np.zeros((frames, 2), np.float32),
        blink_T=np.zeros(frames, bool),
        mouth_openness_T=np.zeros(frames, np.float32),
        gaze_TC=np.zeros((frames, 2), np.float32),
        brow_height_TC=np.zeros((frames, 2), np.float32),
        crop_boxes_TC=np.zeros((frames, 4), np.int32),
        face_share=float(valid.mean()),
    )


def run(
    folder: Path, clip_THWC: Pictures, record: FaceRecord, cuts: Iterable[int] = (), **config: Any
) -> FaceCropsRecord | Skipped:
    height, width = clip_THWC.shape[1:3]
    stage = FaceCrops(FaceCropsConfig.model_validate({"side": SIZE, **config}))
    clip = ClipRecord(
        clip_id="clip", recipe="recipe", frames=len(clip_THWC), fps=FPS, width=width, height=height
    )
    fold = stage.begin(ClipContext(clip, {}, folder), {"face": record})
    for start, stop in pairwise(sorted({0, len(clip_THWC), *cuts})):
        frames = [av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in clip_THWC[start:stop]]
        fold.add(Window(start, frames, width=width, height=height))
    return fold.finish({})


def crops(folder: Path, clip_THWC: Pictures, record: FaceRecord, **config: Any) -> FaceCropsRecord:
    found = run(folder, clip_THWC, record, **config)
    assert isinstance(found, FaceCropsRecord)
    return found


def moving(frames: int) -> NDArray[np.float32]:
    return np.stack([points(80 + 2.3 * t, 60 + 1.1 * t) for t in range(frames)])


def test_official_crops_are_the_official_codes_bit_for_bit(tmp_path: Path) -> None:
    """A face smaller than the crop is kept as source pixels, a larger one as the crop."""
    clip_THWC, at_TKC = pictures(2), np.stack([points(80, 60), points(20, 30, 250, 150)])
    found = crops(tmp_path, clip_THWC, face(at_TKC, [True, True]), compat="official")
    for frame in range(2):
        box_C = face_box(at_TKC[frame], WIDTH, HEIGHT, "official")
        wanted = crop_face(clip_THWC[frame], box_C, SIZE, "official")
        np.testing.assert_array_equal(found.crops_THWC(frame, frame + 1)[0], wanted)
        np.testing.assert_array_equal(np.asarray(found.boxes_TC)[frame], box_C)
    assert found.stored_HWC(0).shape[0] < SIZE == found.stored_HWC(1).shape[0]


@pytest.mark.parametrize("case", range(int(np.load(GOLDEN)["n_cases"])))
def test_official_crops_of_whole_runs(tmp_path: Path, case: int) -> None:
    with np.load(GOLDEN) as golden:
        given = {name.split("_", 1)[1]: golden[name] for name in golden.files if name.startswith(f"c{case}_")}
    clip_THWC = given["frames"][given["indices"] % len(given["frames"])]
    area = int(np.prod(given["area"])) if given["replace"] else None
    if area is not None:  # the vectors' points are in frames that were brought to size already
        clip_THWC = np.stack([resize_by_area(frame, area, compat="official") for frame in clip_THWC])
    size = clip_THWC.shape[2], clip_THWC.shape[1]
    at_TKC = (given["kp133_norm"][:, 23:91, :2] * np.array(size, np.float32)).astype(np.float32)
    record = face(at_TKC, [True] * len(at_TKC), size)
    found = crops(tmp_path, clip_THWC, record, compat="official", side=512)
    assert found.crops_THWC().shape == tuple(given["src_face_shape"])
    np.testing.assert_array_equal(found.crops_THWC()[:, ::8, ::8], given["src_face_sub8"])


def test_official_frames_of_an_area_are_letterboxed_before(tmp_path: Path) -> None:
    clip_THWC, at_TKC, area = pictures(1), points(80, 60)[None], 160 * 112
    found = crops(tmp_path, clip_THWC, face(at_TKC, [True]), compat="official", frame_area=area)
    small_HWC = resize_by_area(clip_THWC[0], area)
    height, width = small_HWC.shape[:2]
    assert (found.width, found.height) == (width, height) == (144, 112)
    # 320x240 into 144x112: 144x108, two rows of black above.
    box_C = face_box(at_TKC[0] * (144 / 320, 108 / 240) + (0, 2), width, height, "official")
    np.testing.assert_array_equal(found.crops_THWC()[0], crop_face(small_HWC, box_C, SIZE))


def test_robust_crops_are_square_inside_the_frame_and_lose_nothing(tmp_path: Path) -> None:
    clip_THWC = pictures(6)
    at_TKC = np.stack(
        [points(x, y) for x, y in ((80, 60), (82.4, 61), (84, 62), (-20, 62), (-21, 8), (290, 215))]
    )
    found = crops(tmp_path, clip_THWC, face(at_TKC, [True] * 6), sigma=0)
    boxes_TC = np.asarray(found.boxes_TC, np.float64)
    sides_TC = boxes_TC[:, 2:] - boxes_TC[:, :2]
    np.testing.assert_allclose(sides_TC[:, 0], sides_TC[:, 1], atol=1e-4)
    assert (boxes_TC >= 0).all() and (boxes_TC[:, 2:] <= (WIDTH, HEIGHT)).all()
    # Height 50, area 1.3 times, three quarters of the growth above.
    side, grow = 50 * 1.3**0.5, 50 * (1.3**0.5 - 1)
    centre_x = 80 + 20
    wanted_C = [centre_x - side / 2, 60 - grow * 3 / 4, centre_x + side / 2, 110 + grow / 4]
    np.testing.assert_allclose(boxes_TC[0], wanted_C, atol=1e-3)
    place = (np.arange(SIZE) + 0.5) / SIZE
    for frame, crop_HWC in enumerate(found.crops_THWC()):
        x_S, y_S = (
            low + place * side - 0.5 for low, side in zip(boxes_TC[frame, :2], sides_TC[frame], strict=True)
        )
        wanted = cv2.remap(
            clip_THWC[frame],
            *np.meshgrid(x_S.astype(np.float32), y_S.astype(np.float32)),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        # But for rows at the border, where a crop sees no further than its own box.
        np.testing.assert_allclose(crop_HWC[2:-2, 2:-2].astype(int), wanted[2:-2, 2:-2], atol=6)


def test_a_face_larger_than_the_frame_gives_the_largest_square(tmp_path: Path) -> None:
    found = crops(tmp_path, pictures(1), face(points(10, -30, 250, 300)[None], [True]))
    x0, y0, x1, y1 = np.asarray(found.boxes_TC)[0]
    assert (y0, y1) == (0, HEIGHT)
    assert x1 - x0 == HEIGHT


def test_a_larger_face_is_averaged(tmp_path: Path) -> None:
    """A pattern of single pixels turns grey; bilinear samples would pick some of them."""
    clip_THWC = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)
    clip_THWC[:, ::2, ::2] = clip_THWC[:, 1::2, 1::2] = 200
    found = crops(tmp_path, clip_THWC, face(points(60, 20, 180, 190)[None], [True]), side=64)
    assert abs(found.crops_THWC()[0].astype(int) - 100).max() < 20


def test_smoothing_takes_the_shaking_away_and_keeps_the_way(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    steady_TKC = moving(40)
    shaken_TKC = steady_TKC + rng.normal(0, 1.5, (40, 1, 2)).astype(np.float32)
    clip_THWC = np.zeros((40, HEIGHT, WIDTH, 3), np.uint8)

    def centres(points_TKC: NDArray[np.float32], sigma: float) -> NDArray[np.float64]:
        found = crops(tmp_path, clip_THWC, face(points_TKC, [True] * 40), sigma=sigma)
        boxes_TC = np.asarray(found.boxes_TC, np.float64)
        return (boxes_TC[:, :2] + boxes_TC[:, 2:]) / 2

    def shake(centre_TC: NDArray[np.float64]) -> float:
        return float(np.sqrt(np.square(np.diff(centre_TC, 2, axis=0)).sum(1).mean()))

    true_TC = centres(steady_TKC, 0)
    assert shake(centres(shaken_TKC, 2)) < 0.15 * shake(centres(shaken_TKC, 0))
    np.testing.assert_allclose(centres(steady_TKC, 2)[8:-8], true_TC[8:-8], atol=0.01)  # no lag
    assert np.abs(centres(shaken_TKC, 2) - true_TC).max() < 3


def test_nothing_is_smoothed_across_a_cut(tmp_path: Path) -> None:
    at_TKC = np.stack([points(20, 30)] * 5 + [points(220, 150)] * 5)
    found = crops(tmp_path, np.zeros((10, HEIGHT, WIDTH, 3), np.uint8), face(at_TKC, [True] * 10))
    boxes_TC = np.asarray(found.boxes_TC)
    np.testing.assert_allclose(boxes_TC[:5] - boxes_TC[0], 0, atol=1e-4)
    np.testing.assert_allclose(boxes_TC[5:] - boxes_TC[9], 0, atol=1e-4)
    assert boxes_TC[5, 0] - boxes_TC[4, 0] == pytest.approx(200, abs=1e-3)


def test_gaps_are_filled_between_what_is_around_and_flagged(tmp_path: Path) -> None:
    frames = 20
    valid_T = np.ones(frames, bool)
    valid_T[:2] = valid_T[7:12] = valid_T[-3:] = False
    at_TKC = moving(frames)
    at_TKC[~valid_T] = np.nan
    clip_THWC = pictures(frames)
    found = crops(tmp_path, clip_THWC, face(at_TKC, valid_T), sigma=0)
    whole = crops(tmp_path, clip_THWC, face(moving(frames), [True] * frames), sigma=0)
    assert np.array_equal(found.valid_T, valid_T)
    assert np.array_equal(found.filled_T, ~valid_T)
    boxes_TC, true_TC = np.asarray(found.boxes_TC), np.asarray(whole.boxes_TC)
    np.testing.assert_allclose(boxes_TC[2:17], true_TC[2:17], atol=1e-3)  # a straight way goes on straight
    np.testing.assert_allclose(boxes_TC[:2], true_TC[[2, 2]], atol=1e-3)
    np.testing.assert_allclose(boxes_TC[-3:], true_TC[[16, 16, 16]], atol=1e-3)
    assert found.crops_THWC(7, 12).std(axis=(1, 2, 3)).min() > 5  # pictures, not black
    assert found.face_share == pytest.approx(valid_T.mean())


def test_a_gap_with_a_cut_is_filled_from_either_side(tmp_path: Path) -> None:
    at_TKC = np.stack([points(20, 30)] * 6 + [points(260, 170)] * 6)
    valid_T = [True] * 5 + [False] * 2 + [True] * 5
    found = crops(tmp_path, np.zeros((12, HEIGHT, WIDTH, 3), np.uint8), face(at_TKC, valid_T))
    assert (np.asarray(found.boxes_TC)[:, 0] > 100).tolist() == [False] * 6 + [True] * 6


def test_long_gaps_skip_the_clip_or_are_black(tmp_path: Path) -> None:
    frames = 20
    valid_T = np.ones(frames, bool)
    valid_T[5:11] = False
    clip_THWC = pictures(frames)
    record = face(moving(frames), valid_T)
    found = run(tmp_path, clip_THWC, record, fill_gaps=0.5)
    assert found == Skipped("the face is not seen for longer than fill_gaps=0.5 seconds", 0.6)
    black = crops(tmp_path, clip_THWC, record, fill_gaps=0.5, long_gaps="black")
    assert not black.crops_THWC(5, 11).any()
    assert not np.asarray(black.filled_T).any()
    assert black.crops_THWC(4, 5).any() and black.crops_THWC(11, 12).any()
    assert np.asarray(crops(tmp_path, clip_THWC, record, fill_gaps=0.6).filled_T).sum() == 6


@pytest.mark.parametrize("at", [(-200, 60), (400, 60), (80, -200), (80, 300)])
def test_a_face_beyond_the_border_is_none(tmp_path: Path, at: tuple[float, float]) -> None:
    nowhere = run(tmp_path, pictures(1), face(points(*at)[None], [True]))
    assert nowhere == Skipped("no face inside the frame", 0.0)
    at_TKC = np.stack([points(80, 60), points(*at), points(80, 60)])
    found = crops(tmp_path, pictures(3), face(at_TKC, [True] * 3))
    assert np.asarray(found.valid_T).tolist() == [True, False, True]


def test_points_that_span_no_box_are_no_face(tmp_path: Path) -> None:
    at_TKC = np.stack(
        [points(80, 60), np.full((68, 2), 50, np.float32), np.full((68, 2), np.nan, np.float32)]
    )
    found = crops(tmp_path, pictures(3), face(at_TKC, [True] * 3))
    assert np.asarray(found.valid_T).tolist() == [True, False, False]
    assert np.isfinite(np.asarray(found.boxes_TC)).all()


@pytest.mark.parametrize(
    ("at", "valid", "message"),
    [
        ((80, 60), False, "frame 1 has no face"),
        ((400, 60), True, "frame 1: the face lies outside"),
        ((80, 300), True, "frame 1: the face lies outside"),
    ],
)
def test_official_fails_where_the_official_code_does(
    tmp_path: Path, at: tuple[float, float], valid: bool, message: str
) -> None:
    record = face(np.stack([points(80, 60), points(*at)]), [True, valid])
    with pytest.raises(OfficialFailure, match=message):
        run(tmp_path, pictures(2), record, compat="official")


def test_the_record_does_not_depend_on_windows(tmp_path: Path) -> None:
    clip_THWC, record = pictures(9), face(moving(9), [True] * 9)
    whole = crops(tmp_path, clip_THWC, record)
    parts = crops(tmp_path, clip_THWC, record, cuts=[1, 2, 6])
    for name in ("blocks", "offsets_T", "boxes_TC", "sharpness_T"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_a_range_decodes_only_itself(tmp_path: Path) -> None:
    found = crops(tmp_path, pictures(5), face(moving(5), [True] * 5))
    everything = found.crops_THWC()
    np.testing.assert_array_equal(found.crops_THWC(2, 4), everything[2:4])
    assert found.crops_THWC(3, 3).shape == (0, SIZE, SIZE, 3)
    spoiled = np.array(found.blocks)
    start, stop = np.asarray(found.offsets_T)[2:4]
    spoiled[start:stop] = 0
    damaged = FaceCropsRecord(
        **{name: getattr(found, name) for name in found.SCHEMA.names} | {"blocks": spoiled}
    )
    np.testing.assert_array_equal(damaged.crops_THWC(3), everything[3:])
    with pytest.raises(ValueError, match="no webp-lossless picture"):
        damaged.crops_THWC(2, 3)
    for start, stop in ((0, 6), (-1, 2), (3, 2)):
        with pytest.raises(IndexError):
            found.crops_THWC(start, stop)


def test_sharpness_tells_a_blurred_face(tmp_path: Path) -> None:
    clip_THWC = pictures(2)
    clip_THWC[1] = cv2.GaussianBlur(clip_THWC[0], (0, 0), 3)
    found = crops(tmp_path, clip_THWC, face(moving(1).repeat(2, 0), [True, True]))
    sharp, blurred = np.asarray(found.sharpness_T)
    gray = cv2.cvtColor(found.crops_THWC(0, 1)[0], cv2.COLOR_RGB2GRAY)
    assert sharp == pytest.approx(
        np.square(cv2.Laplacian(gray, cv2.CV_64F)).mean(), rel=0.15
    )  # luma is enlarged, not colour
    assert blurred < 0.3 * sharp
    assert found.mean_sharpness == pytest.approx((sharp + blurred) / 2)


def test_jpeg_is_smaller_and_close(tmp_path: Path) -> None:
    clip_THWC, record = pictures(3), face(moving(3), [True] * 3)
    exact = crops(tmp_path, clip_THWC, record)
    lossy = crops(tmp_path, clip_THWC, record, codec="jpeg")
    assert lossy.codec == "jpeg"
    assert np.asarray(lossy.offsets_T)[-1] < 0.8 * np.asarray(exact.offsets_T)[-1]
    error = lossy.crops_THWC().astype(float) - exact.crops_THWC()
    assert 10 * np.log10(255**2 / np.square(error).mean()) > 40
