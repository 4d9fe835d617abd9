"""`import wan22`: folders of ours give records back to the bit, folders of others what videos can tell."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import animate_store as made
from helpers.media import write_picture, write_video

from schemas import Record
from schemas.tensor import TENSOR
from wanprep.errors import UsageError
from wanprep.export.export import export
from wanprep.export.frame_table import BadTable, read_frame_table, write_frame_table
from wanprep.export.importer import import_clips, import_key
from wanprep.export.video_file import VideoFile
from wanprep.export.wan22_files import LAYOUTS, TABLES
from wanprep.store.store import Store
from wanprep.store.verify import verify

RECORDS = {
    "skeleton": made.skeleton,
    "retarget": made.retarget,
    "mask": made.mask,
    "replace_mask": made.replace_mask,
    "face_crops": made.face_crops,
}


def assert_equal(found: Record, expected: Record) -> None:
    for column in expected.SCHEMA:
        left, right = getattr(found, column.name), getattr(expected, column.name)
        if column.type == TENSOR and right is not None:
            left, right = np.asarray(left), np.asarray(right)
            assert left.dtype == right.dtype
            assert left.shape == right.shape
            assert (left == right).all(), column.name
        else:
            assert left == right, column.name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported replacement that has all records, in a folder of clips."""
    store = made.make_store(tmp_path, {stage: make() for stage, make in RECORDS.items()})
    assert export(store.files.root, "wan22", tmp_path / "out").left_out == {}
    return tmp_path / "out"


def test_an_export_comes_back_to_the_bit(tmp_path: Path, folder: Path) -> None:
    before = Store.open(str(tmp_path / "store")).clip("dance")
    summary = import_clips("wan22", folder, tmp_path / "back")
    (clip_id,) = summary.clips
    assert clip_id.startswith("dance-import-")
    assert summary.lacking[clip_id] == {}
    store = Store.open(str(tmp_path / "back"))
    clip = store.clip(clip_id)
    for stage in RECORDS:
        assert_equal(clip.get(stage), before.get(stage))
        assert clip.record.keys[stage].startswith("import-")
        assert len(clip.record.keys[stage]) == 32
    assert (clip.skeleton.keypoints_TKC == made.keypoints_TKC()).all()
    row = clip.record
    assert (row.frames, row.fps, row.width, row.height) == (made.FRAMES, 30.0, *made.MODEL)
    assert row.prompt == "她在跳舞"
    assert row.reference == str(folder / "dance" / "src_ref.png")
    report = verify(store)
    assert report.clean and report.missing == 0


def test_importing_twice_adds_nothing_and_a_change_is_another_clip(tmp_path: Path, folder: Path) -> None:
    first = import_clips("wan22", folder / "dance", tmp_path / "back")
    files = sorted((tmp_path / "back").rglob("*.parquet"))
    again = import_clips("wan22", folder / "dance", tmp_path / "back")
    assert (again.clips, list(again.already)) == ({}, list(first.clips))
    assert sorted((tmp_path / "back").rglob("*.parquet")) == files
    (folder / "dance" / "keypoints.parquet").unlink()
    other = import_clips("wan22", folder / "dance", tmp_path / "back")
    (clip_id,) = other.clips
    assert clip_id not in first.clips
    assert "points cannot be had from src_pose.mp4" in other.lacking[clip_id]["skeleton"]
    assert "skeleton" not in Store.open(str(tmp_path / "back")).clip(clip_id).record.keys


def test_the_store_that_was_exported_keeps_its_own_clip(tmp_path: Path, folder: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    before = store.clip("dance").record
    import_clips("wan22", folder, tmp_path / "store")
    store.refresh()
    assert store.clip("dance").record == before
    assert len(list(store.clips())) == 2


def test_a_key_is_of_the_files_content_alone() -> None:
    key = import_key("wan22", "mask", {"src_mask.mp4": "ab"})
    assert key == import_key("wan22", "mask", {"renamed.mp4": "ab"})
    assert key != import_key("wan22", "mask", {"src_mask.mp4": "cd"})
    assert key != import_key("wan22", "replace_mask", {"src_mask.mp4": "ab"})


def test_a_folder_of_another_tool_gives_what_videos_can(tmp_path: Path) -> None:
    clip = tmp_path / "other tool"
    write_video(clip / "src_pose.mp4", 12, fps=30, size=(96, 64))
    write_video(clip / "src_face.mp4", 12, fps=30, size=(512, 512))
    write_video(clip / "src_bg.mp4", 12, fps=30, size=(96, 64))
    masks_THW = made.mask_THW(12, 96, 64)
    with VideoFile(clip / "src_mask.mp4", (96, 64), 30) as file:
        file.add(np.repeat(masks_THW[..., None] * np.uint8(255), 3, axis=3))
    # The official preprocessing copies the reference under this name, whatever it is.
    write_picture(clip / "a.jpg", (64, 96)).rename(clip / "src_ref.png")
    summary = import_clips("wan22", clip, tmp_path / "store")
    ((clip_id, stages),) = summary.clips.items()
    assert stages == ["face_crops", "replace_mask"]
    assert list(summary.lacking[clip_id]) == ["skeleton"]
    found = Store.open(str(tmp_path / "store")).clip(clip_id)
    assert found.record.reference == str(clip / "src_ref.png")
    same = found.replace_mask.masks_THW() == masks_THW
    assert same.mean() > 0.99  # lossy video
    assert found.face_crops.crops_THWC(0, 2).shape == (2, 512, 512, 3)
    assert found.face_crops.face_share == 1.0
    assert verify(Store.open(str(tmp_path / "store"))).clean


def test_black_face_pictures_are_no_faces(tmp_path: Path) -> None:
    write_video(tmp_path / "clip" / "src_pose.mp4", 4, fps=30)
    with VideoFile(tmp_path / "clip" / "src_face.mp4", (512, 512), 30) as file:
        file.add(np.zeros((4, 512, 512, 3), np.uint8))
    summary = import_clips("wan22", tmp_path, tmp_path / "store")
    (clip_id,) = summary.clips
    assert not np.asarray(Store.open(str(tmp_path / "store")).clip(clip_id).face_crops.valid_T).any()
    assert "src_ref.png" in summary.lacking[clip_id]["reference"]


def test_what_does_not_fit_the_clip_is_named_and_left(tmp_path: Path, folder: Path) -> None:
    clip = folder / "dance"
    write_frame_table(clip / "mask.parquet", made.mask(5), LAYOUTS["mask"], 30.0)
    (clip / "keypoints.parquet").write_bytes((clip / "keypoints.parquet").read_bytes()[:-700])
    shutil.copy(clip / "mask.parquet", clip / "retarget.parquet")
    (clip / "face_crops.parquet").unlink()
    write_video(clip / "src_face.mp4", 3, fps=30, size=(512, 512))
    summary = import_clips("wan22", folder, tmp_path / "back")
    ((clip_id, stages),) = summary.clips.items()
    assert stages == ["replace_mask"]
    lacking = summary.lacking[clip_id]
    assert "has 5 frames and src_pose.mp4 21" in lacking["mask"]
    assert "keypoints.parquet: is damaged" in lacking["skeleton"]
    assert "is no table of RetargetRecord" in lacking["retarget"]
    assert "has 3 frames and src_pose.mp4 21" in lacking["face_crops"]


def test_folders_that_are_no_clips_are_told(tmp_path: Path) -> None:
    (tmp_path / "in" / "empty").mkdir(parents=True)
    with pytest.raises(UsageError, match="is no folder of wan22, and holds none"):
        import_clips("wan22", tmp_path / "in", tmp_path / "store")
    assert not (tmp_path / "store").exists()
    with pytest.raises(UsageError, match="is no folder"):
        import_clips("wan22", tmp_path / "nowhere", tmp_path / "store")
    (tmp_path / "in" / "clip").mkdir()
    (tmp_path / "in" / "clip" / "src_pose.mp4").write_text("no video")
    summary = import_clips("wan22", tmp_path / "in", tmp_path / "store")
    ((place, why),) = summary.left_out.items()
    assert place.endswith("clip") and "src_pose.mp4" in why


def test_the_command_names_what_it_took_and_what_it_lacks(tmp_path: Path) -> None:
    write_video(tmp_path / "in" / "clip" / "src_pose.mp4", 4, fps=30)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "wanprep",
            "import",
            "wan22",
            str(tmp_path / "in"),
            "-s",
            str(tmp_path / "store"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert ": no artifacts" in done.stdout
    assert "without skeleton: there is no keypoints.parquet" in done.stdout
    assert "1 clip imported" in done.stdout


def test_links_in_a_folder_from_elsewhere_are_not_followed(tmp_path: Path) -> None:
    write_video(tmp_path / "clip" / "src_pose.mp4", 4, fps=30)
    secret = write_picture(tmp_path / "secret.png")
    (tmp_path / "clip" / "src_ref.png").symlink_to(secret)
    summary = import_clips("wan22", tmp_path / "clip", tmp_path / "store")
    (clip_id,) = summary.clips
    assert "reference" in summary.lacking[clip_id]


@pytest.mark.parametrize("stage", list(RECORDS))
def test_a_layout_names_every_tensor_of_its_record(stage: str) -> None:
    layout = LAYOUTS[stage]
    told = {*layout.by_frame, *layout.whole, *(("blocks", "offsets_T") if layout.blocks else ())}
    assert told == set(layout.record.tensor_columns())


@pytest.mark.parametrize("stage", list(RECORDS))
def test_a_table_gives_its_record_back(tmp_path: Path, stage: str) -> None:
    record = RECORDS[stage](600)  # several row groups
    write_frame_table(tmp_path / TABLES[stage], record, LAYOUTS[stage], 30.0)
    assert_equal(read_frame_table(tmp_path / TABLES[stage], LAYOUTS[stage], tmp_path), record)
    rows = pq.read_table(tmp_path / TABLES[stage], columns=["frame", "seconds"])
    assert rows.column("seconds").to_pylist()[30] == 1.0


def test_points_read_without_us(tmp_path: Path) -> None:
    write_frame_table(tmp_path / "keypoints.parquet", made.skeleton(), LAYOUTS["skeleton"], 30.0)
    column = pq.read_table(tmp_path / "keypoints.parquet").column("keypoints_KC").combine_chunks()
    points = column.flatten().to_numpy().reshape(-1, 133, 3)
    assert (points == made.keypoints_TKC()).all()


def test_records_of_older_stores_have_no_column_for_what_they_lack(tmp_path: Path) -> None:
    full = made.skeleton()
    values = {name: getattr(full, name) for name in full.SCHEMA.names}
    old = type(full)(**values | {"filled_T": None, "longest_gap": None, "warnings": None})
    write_frame_table(tmp_path / "keypoints.parquet", old, LAYOUTS["skeleton"], 30.0)
    assert_equal(read_frame_table(tmp_path / "keypoints.parquet", LAYOUTS["skeleton"], tmp_path), old)


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about["values"].update(frames=10**12),
        lambda about: about["values"].update(width="wide"),
        lambda about: about["values"].update(backend=None),
        lambda about: about.pop("values"),
        lambda about: about.update(values=[]),
    ],
)
def test_a_table_that_lies_is_damaged(tmp_path: Path, change: object) -> None:
    path = tmp_path / "mask.parquet"
    write_frame_table(path, made.mask(), LAYOUTS["mask"], 30.0)
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"wanprep"])
    change(about)  # type: ignore[operator]
    pq.write_table(table.replace_schema_metadata({"wanprep": json.dumps(about)}), path)
    with pytest.raises(BadTable, match="is damaged"):
        read_frame_table(path, LAYOUTS["mask"], tmp_path)


def test_rows_out_of_order_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "mask.parquet"
    write_frame_table(path, made.mask(), LAYOUTS["mask"], 30.0)
    table = pq.read_table(path)
    pq.write_table(table.take(pa.array(list(range(len(table)))[::-1])), path)
    with pytest.raises(BadTable, match="not the frames in order"):
        read_frame_table(path, LAYOUTS["mask"], tmp_path)


def test_a_changed_byte_of_the_points_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "keypoints.parquet"
    write_frame_table(path, made.skeleton(), LAYOUTS["skeleton"], 30.0)
    column = pq.read_metadata(path).row_group(0).column(2)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadTable, match="is damaged"):
        read_frame_table(path, LAYOUTS["skeleton"], tmp_path)
