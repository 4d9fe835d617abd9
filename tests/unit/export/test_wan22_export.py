"""`export --to wan22`: what the official generator finds in the folder."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from helpers import animate_store as made
from helpers.media import frame_HWC
from PIL import Image

from wanprep.errors import UsageError
from wanprep.export.export import ExportSummary, export
from wanprep.export.wan22_face import CutFaces
from wanprep.export.wan22_pose import DrivingPose, RetargetedPose
from wanprep.store.store import Store

Pictures = npt.NDArray[np.uint8]


def read_video(path: Path) -> tuple[Pictures, Fraction]:
    """All frames as RGB and the rate, as a reader without our help sees them."""
    with av.open(str(path)) as container:
        assert not container.streams.audio
        stream = container.streams.video[0]
        rate = stream.average_rate
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert rate is not None
    return np.stack(frames), Fraction(rate)


def luma(frames_THWC: Pictures) -> npt.NDArray[np.float64]:
    """What 4:2:0 keeps at full resolution (ITU-R BT.601)."""
    levels: npt.NDArray[np.float64] = frames_THWC @ np.array([0.299, 0.587, 0.114])
    return levels


def exported(store: Store, tmp_path: Path, **options: object) -> tuple[Path, ExportSummary]:
    summary = export(store.files.root, "wan22", tmp_path / "out", options=options)
    return tmp_path / "out" / "dance", summary


def animation(tmp_path: Path, **more: object) -> Store:
    records = {"skeleton": made.skeleton(), "retarget": made.retarget(), "face_crops": made.face_crops()}
    return made.make_store(tmp_path, records, **more)  # type: ignore[arg-type]


def replacement(tmp_path: Path) -> Store:
    records = {
        "skeleton": made.skeleton(),
        "face_crops": made.face_crops(),
        "mask": made.mask(),
        "replace_mask": made.replace_mask(),
    }
    return made.make_store(tmp_path, records)


def test_an_animation_is_three_files_at_the_characters_size(tmp_path: Path) -> None:
    folder, summary = exported(animation(tmp_path), tmp_path)
    assert (summary.written, summary.left_out, summary.frames) == (["dance"], {}, made.FRAMES)
    assert {entry.name for entry in folder.iterdir()} == {
        "src_pose.mp4",
        "src_face.mp4",
        "src_ref.png",
        "keypoints.parquet",
        "retarget.parquet",
        "face_crops.parquet",
        "manifest.json",
    }
    pose_THWC, rate = read_video(folder / "src_pose.mp4")
    assert rate == 30
    assert pose_THWC.shape == (made.FRAMES, made.MODEL[1], made.MODEL[0], 3)
    drawn_THWC = RetargetedPose(made.retarget()).pictures_THWC(0, made.FRAMES)
    assert drawn_THWC.any()
    # Thin coloured lines lose colour in 4:2:0, not their place.
    assert np.abs(luma(pose_THWC) - luma(drawn_THWC)).mean() < 3
    assert np.corrcoef(luma(pose_THWC).ravel(), luma(drawn_THWC).ravel())[0, 1] > 0.98
    face_THWC, _ = read_video(folder / "src_face.mp4")
    assert face_THWC.shape == (made.FRAMES, 512, 512, 3)
    assert np.abs(face_THWC.astype(int) - made.face_crops().crops_THWC()).mean() < 2
    reference_HWC = np.asarray(Image.open(folder / "src_ref.png"))
    assert (reference_HWC == frame_HWC(0, 96, 64)).all()
    assert Image.open(folder / "src_ref.png").format == "PNG"


def test_a_replacement_has_exact_masks_and_black_where_they_are(tmp_path: Path) -> None:
    folder, summary = exported(replacement(tmp_path), tmp_path)
    assert summary.written == ["dance"]
    mask_THWC, rate = read_video(folder / "src_mask.mp4")
    expected_THW = made.mask_THW(made.FRAMES, *made.MODEL)
    assert rate == 30
    assert (mask_THWC == np.repeat(expected_THW[..., None] * np.uint8(255), 3, axis=3)).all()
    ground_THWC, _ = read_video(folder / "src_bg.mp4")
    assert ground_THWC.shape == mask_THWC.shape
    assert ground_THWC[expected_THW].mean() < 3
    assert ground_THWC[~expected_THW].mean() > 50
    pose_THWC, _ = read_video(folder / "src_pose.mp4")
    assert pose_THWC.shape == mask_THWC.shape  # of the driving person, in the video's place
    drawn_THWC = DrivingPose(made.skeleton(), made.MODEL).pictures_THWC(0, made.FRAMES)
    assert np.abs(luma(pose_THWC) - luma(drawn_THWC)).mean() < 3


def test_opencv_reads_what_pyav_reads(tmp_path: Path) -> None:
    folder, _ = exported(replacement(tmp_path), tmp_path)
    for name in ("src_pose.mp4", "src_face.mp4", "src_bg.mp4", "src_mask.mp4"):
        frames_THWC, _ = read_video(folder / name)
        reader = cv2.VideoCapture(str(folder / name))
        assert reader.get(cv2.CAP_PROP_FPS) == 30
        assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == made.FRAMES
        for picture_HWC in frames_THWC:
            there, seen_HWC = reader.read()
            assert there
            assert np.abs(seen_HWC[..., ::-1].astype(int) - picture_HWC).mean() < (
                0.01 if "mask" in name else 3
            )
        assert not reader.read()[0]


def test_the_manifest_tells_keys_settings_and_files(tmp_path: Path) -> None:
    store = animation(tmp_path)
    folder, _ = exported(store, tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["mode"] == "animate"
    assert manifest["size"] == list(made.MODEL)
    assert manifest["drawn_from"] == {"pose": "retarget", "face": "face_crops", "mask": None}
    assert manifest["made_from"]["keys"] == store.clip("dance").record.keys
    assert manifest["made_from"]["clip"]["prompt"] == "她在跳舞"
    assert manifest["faces_filled"] == 1
    for name, about in manifest["files"].items():
        assert about["bytes"] == (folder / name).stat().st_size


def test_another_rate_is_kept_and_told(tmp_path: Path) -> None:
    folder, _ = exported(animation(tmp_path, fps=25.0), tmp_path)
    assert read_video(folder / "src_pose.mp4")[1] == 25
    assert "25 frames a second" in json.loads((folder / "manifest.json").read_text())["notes"][0]


def test_without_the_animate_stages_skeleton_face_and_mask_do(tmp_path: Path) -> None:
    records = {"skeleton": made.skeleton(), "face": made.face(), "mask": made.mask()}
    store = made.make_store(tmp_path, records)
    folder, summary = exported(store, tmp_path, mode="replace", area=96 * 64)
    assert summary.left_out == {}
    mask_THWC, _ = read_video(folder / "src_mask.mp4")
    assert set(np.unique(mask_THWC)) == {0, 255}
    assert mask_THWC.shape[1] % 16 == 0 and mask_THWC.shape[2] % 16 == 0
    # The official numbers dilate and fill to a rectangle: at least as large as the mask.
    assert mask_THWC.mean() / 255 >= made.mask_THW(made.FRAMES, made.WIDTH // 2, made.HEIGHT // 2).mean()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["drawn_from"] == {"pose": "skeleton", "face": "face", "mask": "mask"}
    assert manifest["faces_filled"] == 4
    animated, _ = exported(store, tmp_path / "again", area=96 * 64)
    assert not (animated / "src_mask.mp4").exists()
    assert json.loads((animated / "manifest.json").read_text())["mode"] == "animate"


def test_a_face_that_is_away_keeps_a_box_between_those_around(tmp_path: Path) -> None:
    faces = CutFaces.of_faces(made.face())
    assert faces.filled == 4
    boxes_TC = faces._boxes_TC
    assert (boxes_TC[4] == [30, 10, 70, 50]).all()
    assert (boxes_TC[7] == [36, 16, 76, 56]).all()  # three fifths of the way
    assert (boxes_TC[9] == [40, 20, 80, 60]).all()


def test_skeleton_alone_gives_faces_too(tmp_path: Path) -> None:
    folder, summary = exported(made.make_store(tmp_path, {"skeleton": made.skeleton()}), tmp_path, area=6144)
    assert summary.left_out == {}
    assert read_video(folder / "src_face.mp4")[0].shape == (made.FRAMES, 512, 512, 3)


@pytest.mark.parametrize(
    ("records", "more", "reason"),
    [
        ({"skeleton": "no person found"}, {}, "skeleton was skipped: no person found"),
        ({"skeleton": made.skeleton(), "face_crops": "no face"}, {}, "face_crops was skipped: no face"),
        ({"skeleton": made.skeleton(), "retarget": "no figure"}, {}, "retarget was skipped: no figure"),
        ({"skeleton": made.skeleton()}, {"reference": False}, "has no reference picture"),
        ({"skeleton": made.skeleton(7)}, {}, "skeleton has 7 frames and the clip 21"),
        ({"face": made.face()}, {}, "its recipe has no stage 'skeleton'"),
    ],
)
def test_a_clip_that_lacks_something_is_named(
    tmp_path: Path, records: dict[str, object], more: dict[str, object], reason: str
) -> None:
    store = made.make_store(tmp_path, records, **more)  # type: ignore[arg-type]
    folder, summary = exported(store, tmp_path)
    assert summary.written == []
    assert reason in summary.left_out["dance"]
    assert list((tmp_path / "out").iterdir()) == []
    assert not folder.exists()


def test_a_video_that_is_gone_is_named(tmp_path: Path) -> None:
    store = replacement(tmp_path)
    (tmp_path / "dance.mp4").unlink()
    _, summary = exported(store, tmp_path)
    assert "dance.mp4: the file does not exist" in summary.left_out["dance"]
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("clip_id", ["../out", "a/b", ".hidden", "x" * 300])
def test_an_id_that_is_no_plain_name_is_no_path(tmp_path: Path, clip_id: str) -> None:
    store = made.make_store(tmp_path, {"skeleton": made.skeleton()}, clip_id=clip_id)
    _, summary = exported(store, tmp_path)
    assert list(summary.left_out) == [clip_id]
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_unknown_exporters_and_options_are_told(tmp_path: Path) -> None:
    store = animation(tmp_path)
    with pytest.raises(UsageError, match="no exporter is called 'wan21'; did you mean 'wan22'"):
        export(store.files.root, "wan21", tmp_path / "out")
    with pytest.raises(UsageError, match="unknown option 'mod'; did you mean 'mode'"):
        exported(store, tmp_path, mod="replace")
    with pytest.raises(UsageError, match="exports go to a local folder"):
        export(store.files.root, "wan22", "s3://bucket/out")


def test_poses_drawn_in_pieces_are_those_of_the_whole_and_nobody_is_drawn_in_a_gap() -> None:
    record = made.skeleton()
    gone = np.array(record.keypoints_smooth_TKC)
    gone[6:9] = 0  # over a piece's border
    record = type(record)(
        **{name: getattr(record, name) for name in record.SCHEMA.names} | {"keypoints_smooth_TKC": gone}
    )
    whole = DrivingPose(record, made.MODEL).pictures_THWC(0, made.FRAMES)
    pose = DrivingPose(record, made.MODEL)
    pieces = [pose.pictures_THWC(start, min(start + 4, made.FRAMES)) for start in range(0, made.FRAMES, 4)]
    assert (np.concatenate(pieces) == whole).all()
    assert [bool(picture.any()) for picture in whole[4:11]] == [True, True, False, False, False, True, True]
