"""Flow finds motions that are known, and its record does not depend on how the clip is cut into windows."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.pictures import moved, texture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas import ClipRecord, FlowRecord
from stages.flow import Flow, FlowConfig
from stages.optical_flow.estimator import DisEstimator
from wanprep.media.window import Window
from wanprep.stage import ClipContext, Skipped

Gray = NDArray[np.uint8]
WIDTH, HEIGHT = 320, 240


def windows(pictures: Iterable[Gray], cuts: Iterable[int] = ()) -> Iterable[Window]:
    pictures = list(pictures)
    edges = sorted({0, len(pictures), *cuts})
    height, width = pictures[0].shape
    for start, stop in pairwise(edges):
        frames = [av.VideoFrame.from_ndarray(picture, format="gray") for picture in pictures[start:stop]]
        yield Window(start, frames, width=width, height=height)


def run(
    folder: Path, pictures: Iterable[Gray], cuts: Iterable[int] = (), **config: object
) -> FlowRecord | Skipped:
    stage = Flow(FlowConfig.model_validate(config))
    stage.setup()
    fold = stage.begin(ClipContext(ClipRecord(clip_id="clip", recipe="recipe"), {}, folder), {})
    for window in windows(pictures, cuts):
        fold.add(window)
    return fold.finish({})


def record(folder: Path, pictures: Iterable[Gray], cuts: Iterable[int] = (), **config: object) -> FlowRecord:
    result = run(folder, pictures, cuts, **config)
    assert isinstance(result, FlowRecord)
    return result


@pytest.mark.parametrize("shift", [(3.25, -1.5), (-0.5, 0.25), (0.0, 6.0)])
def test_a_known_shift_is_found(tmp_path: Path, shift: tuple[float, float]) -> None:
    picture = texture()
    flow = record(tmp_path, [picture, moved(picture, *shift)])
    inside_HWC = flow.flow_THWC()[0, 20:-20, 20:-20]
    assert np.hypot(*(inside_HWC - shift).transpose(2, 0, 1)).mean() < 0.15
    camera_C = np.asarray(flow.camera_TC)[0]
    assert camera_C[:2] == pytest.approx(shift, abs=0.08)
    assert camera_C[2] == pytest.approx(1, abs=1e-3)
    assert flow.mean_motion < 0.25
    assert flow.mean_camera == pytest.approx(np.hypot(*shift), abs=0.1)
    assert np.asarray(flow.consistent_T)[0] > 0.9


@pytest.mark.parametrize("zoom", [1.02, 0.985])
def test_a_known_zoom_is_found(tmp_path: Path, zoom: float) -> None:
    picture = texture(1)
    flow = record(tmp_path, [picture, moved(picture, zoom=zoom)])
    camera_C = np.asarray(flow.camera_TC)[0]
    assert camera_C[:2] == pytest.approx([0, 0], abs=0.08)
    assert camera_C[2] == pytest.approx(zoom, abs=0.002)
    assert flow.mean_camera > 1.0  # a median of the border's flow would say that the camera stood still
    assert flow.mean_motion < 0.25


def test_the_camera_is_not_the_person_before_it(tmp_path: Path) -> None:
    room, person = texture(2), texture(3)
    after = moved(room, 2.0, 1.0, 1.01)
    before = room.copy()
    before[60:, 110:210] = person[60:, 110:210]  # stands on the lower border
    after[60:, 118:218] = person[60:, 110:210]  # moves 8 pixels to the right
    flow = record(tmp_path, [before, after])
    camera_C = np.asarray(flow.camera_TC)[0]
    assert camera_C[:2] == pytest.approx((2.0, 1.0), abs=0.15)
    assert camera_C[2] == pytest.approx(1.01, abs=0.002)
    assert np.asarray(flow.motion_T)[0] > 0.5


def test_before_a_plain_backdrop_the_camera_stands_still(tmp_path: Path) -> None:
    person = texture(4)
    before, after = np.full((2, HEIGHT, WIDTH), 90, np.uint8)
    before[80:, 100:200] = person[80:, 100:200]
    after[80:, 105:205] = person[80:, 100:200]
    flow = record(tmp_path, [before, after])
    assert np.asarray(flow.camera_TC)[0] == pytest.approx([0, 0, 1], abs=0.05)
    assert flow.mean_motion > 0.5


def test_stored_flow_is_within_half_a_step_of_the_estimate(tmp_path: Path) -> None:
    picture = texture(5)
    pictures = [picture, moved(picture, 1.0, 0.5), moved(picture, 26.0, 0.5)]
    flow = record(tmp_path, pictures)
    estimator = DisEstimator("medium")
    for pair in range(2):
        estimate_HWC = estimator.flow_HWC(pictures[pair], pictures[pair + 1])
        scale = float(np.asarray(flow.scale_T)[pair])
        assert scale == pytest.approx(max(1 / 8, np.abs(estimate_HWC).max() / 127))
        assert np.abs(flow.flow_THWC(pair, pair + 1)[0] - estimate_HWC).max() <= scale / 2 * 1.001
    assert np.asarray(flow.scale_T)[1] > 1 / 8  # fast motion needs coarser steps


def test_a_cut_is_flagged_and_has_no_flow(tmp_path: Path) -> None:
    first, second = texture(6), texture(7)
    flow = record(tmp_path, [first, moved(first, 2.0), second, moved(second, 2.0)])
    assert np.asarray(flow.cut_T).tolist() == [False, True, False]
    assert flow.cuts == 1
    assert not flow.flow_THWC(1, 2).any()
    assert not flow.consistent_THW(1, 2).any()
    assert np.asarray(flow.camera_TC)[1].tolist() == [0, 0, 1]
    assert flow.mean_camera == pytest.approx(2.0, abs=0.1)  # over the two pairs that are connected


def test_a_flash_and_a_fast_pan_are_no_cuts(tmp_path: Path) -> None:
    wide = texture(8, width=2 * WIDTH)
    pan = [np.ascontiguousarray(wide[:, 24 * index : 24 * index + WIDTH]) for index in range(4)]
    flash = np.clip(pan[-1] * 1.5 + 20, 0, 255).astype(np.uint8)
    assert record(tmp_path, [*pan, flash]).cuts == 0


def test_a_cut_to_black_is_a_cut(tmp_path: Path) -> None:
    assert record(tmp_path, [texture(9), np.zeros((HEIGHT, WIDTH), np.uint8)]).cuts == 1


def test_what_gets_covered_is_not_consistent(tmp_path: Path) -> None:
    room, card = texture(10), texture(11)
    before, after = room.copy(), room.copy()
    before[80:160, 60:140] = card[80:160, 60:140]
    after[80:160, 76:156] = card[80:160, 60:140]
    agree_HW = record(tmp_path, [before, after]).consistent_THW()[0]
    assert agree_HW[84:156, 142:154].mean() < 0.5  # the room that the card slides over
    assert agree_HW[90:150, 70:130].mean() > 0.9
    assert agree_HW[:60].mean() > 0.95


def test_repeated_frames_have_no_motion(tmp_path: Path) -> None:
    picture = texture(12)
    flow = record(tmp_path, [picture, picture, picture])
    assert not flow.flow_THWC().any()
    assert flow.consistent_THW().all()
    assert flow.mean_motion == flow.mean_camera == flow.cuts == 0


def test_a_single_frame_is_skipped_with_a_reason(tmp_path: Path) -> None:
    assert run(tmp_path, [texture()]) == Skipped("a single frame has no flow", 1.0)


def test_consistency_can_be_left_out(tmp_path: Path) -> None:
    picture = texture(13)
    flow = record(tmp_path, [picture, moved(picture, 1.0)], consistency=False)
    assert flow.consistent_T is None and flow.consistent_blocks is None
    with pytest.raises(ValueError, match="consistency=true"):
        flow.consistent_THW()


@pytest.mark.parametrize("size", [(2, 2), (40, 10), (400, 8), (12, 300), (1000, 16), (17, 33)])
def test_pictures_of_any_shape_have_flow(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    picture = texture(14, 1024, 512)[:height, :width].copy()
    flow = record(tmp_path, [picture, np.ascontiguousarray(np.roll(picture, 1, axis=1))], cut_similarity=-1)
    assert flow.flow_THWC().shape == (1, height, width, 2)
    assert np.isfinite(flow.flow_THWC()).all()


def contents(flow: FlowRecord) -> dict[str, object]:
    values = {name: getattr(flow, name) for name in flow.SCHEMA.names}
    return {
        name: np.asarray(value).tobytes() if hasattr(value, "dtype") else value
        for name, value in values.items()
    }


CLIP = [moved(texture(15, 96, 64), 1.5 * index, zoom=1 + 0.01 * index) for index in range(6)]
CLIP += [moved(texture(16, 96, 64), 0, index) for index in range(4)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, len(CLIP) - 1)))
def test_windows_may_be_cut_anywhere(tmp_path: Path, cuts: set[int]) -> None:
    assert contents(record(tmp_path, CLIP, cuts)) == contents(record(tmp_path, CLIP))


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    pictures = [moved(texture(17), 2.0 * index, -index) for index in range(3)]
    assert contents(record(tmp_path, pictures)) == contents(record(tmp_path, pictures))


def test_presets_differ(tmp_path: Path) -> None:
    pictures = [texture(18), moved(texture(18), 2.3, 1.1)]
    medium, fast = record(tmp_path, pictures), record(tmp_path, pictures, preset="fast")
    assert (medium.backend, fast.backend) == ("dis-medium", "dis-fast")
    assert contents(medium)["blocks"] != contents(fast)["blocks"]


def test_a_half_plain_room_does_not_hide_a_pan(tmp_path: Path) -> None:
    wide = texture(19, width=2 * WIDTH)
    wide[: HEIGHT // 2] = 120
    flow = record(
        tmp_path, [np.ascontiguousarray(wide[:, 4 * index : 4 * index + WIDTH]) for index in range(2)]
    )
    assert np.asarray(flow.camera_TC)[0, 0] == pytest.approx(-4, abs=0.3)
