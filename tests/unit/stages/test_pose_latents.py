"""The stage pose_latents: which picture is drawn for each mode, and how segments are cut and filled."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.skeletons import (
    PICTURE,
    SOURCE,
    context,
    reference_of,
    retargeted,
    skeleton_of,
    standing_TKC,
)
from PIL import Image
from pydantic import ValidationError

from schemas import LatentsRecord, RetargetRecord, SkeletonRecord
from stages.pose_latents import PoseLatents, PoseLatentsConfig
from stages.pose_latents.pictures import retargeted_pictures, skeleton_pictures
from wanprep.animate.compat import OfficialFailure
from wanprep.animate.pictures import skeleton_picture
from wanprep.animate.pose import pose_of
from wanprep.animate.segments import ping_pong
from wanprep.errors import UsageError
from wanprep.models.dct_codec import dct_codec
from wanprep.models.vae_preview import decode_preview
from wanprep.stage import Media, Skipped

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "animate" / "preprocess_e2e.npz"
AREA = {"size": {"area": 96 * 160}}
CANVAS = (96, 160)  # of PICTURE


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    Image.new("RGB", PICTURE).save(tmp_path / "reference.png")
    return tmp_path / "reference.png"


def pose_latents(
    folder: Path, record: SkeletonRecord | RetargetRecord, reference: Path | None, **config: object
) -> LatentsRecord | Skipped:
    made_by = PoseLatents(PoseLatentsConfig.model_validate(config))
    made_by.setup()
    (need,) = made_by.needs
    made = made_by.run(context(folder, reference), {need: record})
    assert isinstance(made, LatentsRecord | Skipped)
    return made


def latents_of(made: LatentsRecord | Skipped) -> LatentsRecord:
    assert isinstance(made, LatentsRecord), made
    return made


def drawn(skeleton: SkeletonRecord, canvas: tuple[int, int] = CANVAS) -> np.ndarray:
    return np.stack(list(skeleton_pictures(skeleton, canvas, "measured", "robust", "robust")))


@pytest.mark.parametrize("case", range(4))
def test_the_stages_draw_the_official_pictures(tmp_path: Path, case: int) -> None:
    """From 133 points to pixels, through the records, which hold float32."""
    with np.load(GOLDEN, allow_pickle=False) as arrays:
        fields = {
            name: arrays[f"c{case}_{name}"]
            for name in ("kp133_norm", "src_pose", "replace", "retarget", "frames", "ref_rgb")
        }
        moved = bool(fields["retarget"])
        points_KC = arrays[f"c{case}_kp133_ref_norm"] if moved else None
    wanted_THWC = fields["src_pose"]
    canvas = (wanted_THWC.shape[2], wanted_THWC.shape[1])
    frame_size = canvas if fields["replace"] else fields["frames"].shape[2:0:-1]
    size = (int(frame_size[0]), int(frame_size[1]))
    skeleton = skeleton_of(fields["kp133_norm"] * np.array([*size, 1], np.float32), size)
    config = {"compat": "official", "points": "measured"}
    if points_KC is not None:
        character = reference_of(points_KC * np.array([*canvas, 1], np.float32), canvas)
        exact = {"size": {"width": canvas[0], "height": canvas[1]}}
        record = retargeted(tmp_path, skeleton, character, **config, **exact)
        assert isinstance(record, RetargetRecord)
        pictures = retargeted_pictures(record)
    else:
        made_by = PoseLatents(
            PoseLatentsConfig.model_validate(
                {**config, "mode": "replace" if fields["replace"] else "animate"}
            )
        )
        pictures = made_by._pictures(skeleton, canvas)
    np.testing.assert_array_equal(np.stack(list(pictures)), wanted_THWC)


@pytest.mark.parametrize("mode", ["animate", "replace", "retarget"])
def test_each_mode_has_its_canvas(tmp_path: Path, reference: Path, mode: str) -> None:
    skeleton = skeleton_of(standing_TKC(5, sway=3))
    record: SkeletonRecord | RetargetRecord = skeleton
    canvas = (128, 96) if mode == "replace" else CANVAS
    if mode == "retarget":
        made = retargeted(tmp_path, skeleton, reference_of(standing_TKC(1, PICTURE)[0]), **AREA)
        assert isinstance(made, RetargetRecord)
        record = made
        pictures = np.stack(list(retargeted_pictures(made)))
    else:
        pictures = drawn(skeleton, canvas)
    found = latents_of(
        pose_latents(tmp_path, record, reference, mode=mode, segment_frames=9, storage="float32", **AREA)
    )
    assert (found.view, found.fit) == ("pose", "retarget" if mode == "retarget" else "letterbox")
    assert (found.width, found.height) == canvas
    assert (found.frames, found.frames_repeated, found.segment_starts) == (5, 4, [0])
    expected_TCHW = dct_codec("dct-z16-v1").encode(pictures[ping_pong(5, 9)])
    np.testing.assert_allclose(found.latents_TCHW[:], expected_TCHW, atol=1e-5)
    shown_THWC = decode_preview(found)[:5]
    assert np.corrcoef(shown_THWC.ravel(), pictures.ravel())[0, 1] > 0.6
    assert pictures[4].any() and (pictures[4] != pictures[0]).any()


@pytest.mark.parametrize("frames", [1, 5, 9, 17, 20, 25])
@pytest.mark.parametrize("carried", [1, 5])
def test_each_segment_is_coded_on_its_own(tmp_path: Path, reference: Path, frames: int, carried: int) -> None:
    skeleton = skeleton_of(standing_TKC(frames, sway=2))
    found = latents_of(
        pose_latents(
            tmp_path,
            skeleton,
            reference,
            segment_frames=9,
            segment_overlap=carried,
            storage="float32",
            points="measured",
            **AREA,
        )
    )
    step = 9 - carried
    count = max(1, -(-(frames - carried) // step))
    assert found.segment_starts == [step * index for index in range(count)]
    assert (found.frames, found.frames_repeated) == (frames, (count - 1) * step + 9 - frames)
    pictures_THWC = drawn(skeleton)[ping_pong(frames, (count - 1) * step + 9)]
    for index, start in enumerate(found.segment_starts):
        alone_TCHW = dct_codec("dct-z16-v1").encode(pictures_THWC[start : start + 9])
        np.testing.assert_allclose(found.segment_CTHW(index), np.moveaxis(alone_TCHW, 0, 1), atol=1e-5)


def test_memory_does_not_grow_with_the_clip(tmp_path: Path, reference: Path) -> None:
    def peak(frames: int) -> int:
        skeleton = skeleton_of(standing_TKC(frames))
        tracemalloc.start()
        try:
            latents_of(pose_latents(tmp_path, skeleton, reference, segment_frames=41, **AREA))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(41)
    pictures = 320 * CANVAS[0] * CANVAS[1] * 3
    assert peak(401) - peak(81) < pictures / 5


def test_official_lines_are_scaled_and_robust_ones_drawn(tmp_path: Path) -> None:
    skeleton = skeleton_of(standing_TKC(1))
    pose = pose_of(standing_TKC(1), SOURCE)
    for config, wanted in (
        ({"compat": "robust"}, "robust"),
        ({"compat": "official"}, "official"),
        ({"compat": "official", "mode": "replace"}, "robust"),
    ):
        made_by = PoseLatents(PoseLatentsConfig.model_validate(config))
        (picture_HWC,) = made_by._pictures(skeleton, (160, 96))
        np.testing.assert_array_equal(picture_HWC, skeleton_picture(pose, 0, (160, 96), wanted))  # type: ignore[arg-type]


def test_an_official_right_hand_is_drawn_first(tmp_path: Path) -> None:
    """Where hands cross, the later one covers the other."""
    character = reference_of(standing_TKC(1, PICTURE)[0])
    made = retargeted(tmp_path, skeleton_of(standing_TKC(1)), character, compat="official")
    assert isinstance(made, RetargetRecord)
    along_K, sure_K = 5.0 * np.arange(21), np.ones(21)
    across_TKC = np.stack([100 + along_K, 100 * sure_K, sure_K], axis=1)[None]
    down_TKC = np.stack([152 * sure_K, 8 + along_K, sure_K], axis=1)[None]
    made = replace(made, left_hand_TKC=across_TKC, right_hand_TKC=down_TKC)
    (official_HWC,) = retargeted_pictures(made)
    (robust_HWC,) = retargeted_pictures(replace(made, compat="robust"))
    assert (official_HWC != robust_HWC).any()
    mirrored = replace(
        made, compat="robust", left_hand_TKC=made.right_hand_TKC, right_hand_TKC=made.left_hand_TKC
    )
    np.testing.assert_array_equal(official_HWC, next(retargeted_pictures(mirrored)))


def test_what_cannot_be_made_says_why(tmp_path: Path, reference: Path) -> None:
    skeleton = skeleton_of(standing_TKC(3))
    assert pose_latents(tmp_path, skeleton, None) == Skipped(
        "the clip has no reference picture, whose size mode=animate takes", 0.0
    )
    with pytest.raises(OfficialFailure, match="3 frames with 5 carried over make no segment"):
        pose_latents(tmp_path, skeleton, reference, compat="official", segment_overlap=5, **AREA)
    made = retargeted(tmp_path, skeleton, reference_of(standing_TKC(1, PICTURE)[0]), size={"area": 100 * 200})
    assert isinstance(made, RetargetRecord) and (made.width, made.height) == (96, 176)
    with pytest.raises(UsageError, match=r"skeleton is 96x176: this autoencoder takes multiples of 32"):
        pose_latents(tmp_path, made, reference, mode="retarget", backend="dct-z48")
    for wrong in ({"segment_frames": 76}, {"segment_overlap": 2}, {"mode": "dance"}):
        with pytest.raises(ValidationError):
            PoseLatentsConfig.model_validate(wrong)


def test_only_what_decides_is_read() -> None:
    for mode, reads, needs in (
        ("animate", {Media.REFERENCE}, ("skeleton",)),
        ("replace", set(), ("skeleton",)),
        ("retarget", set(), ("retarget",)),
    ):
        made_by = PoseLatents(PoseLatentsConfig.model_validate({"mode": mode}))
        assert (made_by.reads, made_by.needs) == (reads, needs)


def test_planning_loads_no_model_library() -> None:
    code = (
        "import sys; from stages.pose_latents import *; from stages.retarget import *; "
        "from stages.person.reference import *; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'mediapipe', 'onnxruntime', 'diffusers')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
